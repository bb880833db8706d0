"""Gemini's own error bodies, word for word where they are known from real traffic."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gemini_backend.upstream.simulator.wire import Json

SERVICE = "generativelanguage.googleapis.com"
_TYPE = "type.googleapis.com/google.rpc."

HTTP_STATUS = {
    "CANCELLED": 499,
    "INVALID_ARGUMENT": 400,
    "FAILED_PRECONDITION": 400,
    "PERMISSION_DENIED": 403,
    "NOT_FOUND": 404,
    "ALREADY_EXISTS": 409,
    "RESOURCE_EXHAUSTED": 429,
    "INTERNAL": 500,
    "UNAVAILABLE": 503,
    "DEADLINE_EXCEEDED": 504,
}


class ApiError(Exception):
    """A refusal, as Gemini's REST API words it.

    Args:
        status: The canonical name, such as ``INVALID_ARGUMENT``.
        message: The text for people.
        details: ``google.rpc`` details, each with its ``@type``.
        code: The HTTP status, where it is not the usual one of ``status``.
    """

    def __init__(
        self, status: str, message: str, details: Sequence[Json] = (), code: int | None = None
    ) -> None:
        """See the class."""
        super().__init__(message)
        self.status = status
        self.code = code or HTTP_STATUS.get(status, 500)
        self.message = message
        self.details = list(details)

    def body(self) -> Json:
        """The JSON that is sent."""
        inner: Json = {"code": self.code, "message": self.message, "status": self.status}
        if self.details:
            inner["details"] = self.details
        return {"error": inner}


def detail(kind: str, **fields: object) -> Json:
    """One ``google.rpc`` detail, such as ``detail("RetryInfo", retryDelay="2s")``."""
    return {"@type": _TYPE + kind, **fields}


def invalid(message: str) -> ApiError:
    """A plain 400."""
    return ApiError("INVALID_ARGUMENT", message)


def violation(path: str, rule: str) -> ApiError:
    """The 400 that a broken rule on a field gets."""
    return invalid(f"* {path}: {rule}\n")


def bad_request(violations: Sequence[tuple[str, str]]) -> ApiError:
    """The 400 of the JSON reader: ``(field, description)`` pairs, all at once."""
    fields = [
        {"field": field, "description": text} if field else {"description": text}
        for field, text in violations
    ]
    message = "\n".join(text for _, text in violations)
    return ApiError("INVALID_ARGUMENT", message, [detail("BadRequest", fieldViolations=fields)])


def bad_key() -> ApiError:
    """The 400 for a key that Gemini does not know."""
    message = "API key not valid. Please pass a valid API key."
    info = detail(
        "ErrorInfo",
        reason="API_KEY_INVALID",
        domain="googleapis.com",
        metadata={"service": SERVICE},
    )
    localized = detail("LocalizedMessage", locale="en-US", message=message)
    return ApiError("INVALID_ARGUMENT", message, [info, localized])


def no_key() -> ApiError:
    """The 403 for a request without a key."""
    return ApiError(
        "PERMISSION_DENIED",
        "Method doesn't allow unregistered callers (callers without established identity). "
        "Please use API Key or other form of API consumer identity to call this API.",
    )


def unknown_model(model: str, version: str, method: str) -> ApiError:
    """The 404 for a model that does not exist in this version of the API or lacks the method."""
    return ApiError(
        "NOT_FOUND",
        f"models/{model} is not found for API version {version}, or is not supported for {method}. "
        "Call ModelService.ListModels to see the list of available models and their supported "
        "methods.",
    )


def denied_file(name: str) -> ApiError:
    """The 403 for a file that is not there, or belongs to another project."""
    return ApiError(
        "PERMISSION_DENIED",
        f"You do not have permission to access the File {name} or it may not exist.",
    )


def denied_cache() -> ApiError:
    """The 403 for cached content that is not there, or has expired."""
    return ApiError("PERMISSION_DENIED", "CachedContent not found (or permission denied)")
