"""The error bodies that can be asked for by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gemini_backend.upstream.simulator.errors import (
    HTTP_STATUS,
    SERVICE,
    ApiError,
    bad_key,
    detail,
    invalid,
    unknown_model,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from gemini_backend.upstream.simulator.faults.fault import Fault
    from gemini_backend.upstream.simulator.wire import Json

_LIMITS_URL = "https://ai.google.dev/gemini-api/docs/rate-limits"
_CONSOLE = "https://console.developers.google.com/apis/api/"
# Gemini gives its per-day refusals a delay that would not help.
_DAY_DELAY = 12.345678901
_MINUTE_DELAY = 45.837906927

_PLAIN = {
    "invalid_argument": ("INVALID_ARGUMENT", "Request contains an invalid argument."),
    "location": ("FAILED_PRECONDITION", "User location is not supported for the API use."),
    "billing": (
        "FAILED_PRECONDITION",
        (
            "Gemini API free tier is not available in your country. Please enable billing on your "
            "project in Google AI Studio."
        ),
    ),
    "rate_limit_bare": ("RESOURCE_EXHAUSTED", "Resource has been exhausted (e.g. check quota)."),
    "cancelled": ("CANCELLED", "The operation was cancelled."),
    "internal": (
        "INTERNAL",
        (
            "An internal error has occurred. Please retry or report in "
            "https://developers.generativeai.google/guide/troubleshooting"
        ),
    ),
    "overloaded": ("UNAVAILABLE", "The model is overloaded. Please try again later."),
    "deadline": ("DEADLINE_EXCEEDED", "Deadline expired before operation could complete."),
}

HTML_PAGE = (
    "<!DOCTYPE html>\n<html lang=en>\n  <meta charset=utf-8>\n"
    "  <title>Error {code} ({title})!!1</title>\n"
    "  <p><b>{code}.</b> <ins>That's an error.</ins>\n"
    "  <p>{text} <ins>That's all we know.</ins>\n"
)
_PAGES = {
    404: ("Not Found", "The requested URL was not found on this server."),
    502: ("Server Error", "The server encountered a temporary error. Please try again."),
    503: ("Service Unavailable", "The service is unavailable at this time."),
}


def error_for(fault: Fault, model: str, version: str, method: str) -> ApiError | None:
    """The error that ``fault`` answers with, or None if it is a fault of another kind."""
    made = _error(fault, model, version, method)
    if made is not None and fault.message:
        made.message = fault.message
    return made


def _error(fault: Fault, model: str, version: str, method: str) -> ApiError | None:
    if fault.fault in _PLAIN:
        return ApiError(*_PLAIN[fault.fault])
    made: dict[str, Callable[[], ApiError]] = {
        "error": lambda: custom(fault, "INTERNAL"),
        "api_key_invalid": bad_key,
        "not_found": lambda: unknown_model(model, version, method),
        "service_disabled": _service_disabled,
        "rate_limit": lambda: over_quota("requests", 15, model, _seconds(fault, _MINUTE_DELAY)),
        "rate_limit_day": lambda: over_quota("day", 250, model, _seconds(fault, _DAY_DELAY)),
        "rate_limit_help": lambda: ApiError("RESOURCE_EXHAUSTED", _exceeded(""), [_help()]),
    }
    return made[fault.fault]() if fault.fault in made else None


def _seconds(fault: Fault, default: float) -> float:
    return default if fault.seconds is None else fault.seconds


def custom(fault: Fault, status: str) -> ApiError:
    """An error made of the fault's own code, status and message."""
    status = fault.status or next(
        (name for name, code in HTTP_STATUS.items() if code == fault.code), status
    )
    return ApiError(status, fault.message or "Simulated error.", code=fault.code)


def over_quota(kind: str, most: int, model: str, wait: float) -> ApiError:
    """A 429 with everything that Gemini tells about a quota.

    Args:
        kind: ``requests`` or ``tokens`` (per minute), or ``day``.
        most: The quota.
        model: Whose quota it is.
        wait: Seconds until it is worth trying again.
    """
    metric, quota = {
        "requests": ("requests", "GenerateRequestsPerMinutePerProjectPerModel-FreeTier"),
        "tokens": ("input_token_count", "GenerateContentInputTokensPerModelPerMinute-FreeTier"),
        "day": ("requests", "GenerateRequestsPerDayPerProjectPerModel-FreeTier"),
    }[kind]
    metric = f"{SERVICE}/generate_content_free_tier_{metric}"
    violation = {
        "quotaMetric": metric,
        "quotaId": quota,
        "quotaDimensions": {"location": "global", "model": model},
        "quotaValue": str(most),
    }
    text = (
        f"\n* Quota exceeded for metric: {metric}, limit: {most}, model: {model}"
        f"\nPlease retry in {wait:.9f}s."
    )
    details = [
        _help(),
        detail("QuotaFailure", violations=[violation]),
        detail("RetryInfo", retryDelay=f"{wait:.9f}".rstrip("0").rstrip(".") + "s"),
    ]
    return ApiError("RESOURCE_EXHAUSTED", _exceeded(text), details)


def html(code: int) -> str:
    """A page of the kind that stands in front of the API."""
    title, text = _PAGES.get(code, ("Error", "Something went wrong."))
    return HTML_PAGE.format(code=code, title=title, text=text)


def script_error(error: Exception) -> ApiError:
    """What a request gets whose fault cannot be read."""
    return invalid(f"The simulator cannot read the fault of this request: {error}.")


def _exceeded(rest: str) -> str:
    return (
        "You exceeded your current quota, please check your plan and billing details. For more "
        f"information on this error, head to: {_LIMITS_URL}. To monitor your current usage, head "
        f"to: https://ai.dev/rate-limit. {rest}"
    )


def _help() -> Json:
    link = {"description": "Learn more about Gemini API quotas", "url": _LIMITS_URL}
    return detail("Help", links=[link])


def _service_disabled() -> ApiError:
    project, url = "123456789012", f"{_CONSOLE}{SERVICE}/overview?project=123456789012"
    message = (
        f"Generative Language API has not been used in project {project} before or it is disabled. "
        f"Enable it by visiting {url} then retry. If you enabled this API recently, wait a few "
        "minutes for the action to propagate to our systems and retry."
    )
    metadata = {
        "activationUrl": url,
        "consumer": f"projects/{project}",
        "containerInfo": project,
        "service": SERVICE,
        "serviceTitle": "Generative Language API",
    }
    link = {"description": "Google developers console API activation", "url": url}
    return ApiError(
        "PERMISSION_DENIED",
        message,
        [
            detail(
                "ErrorInfo", reason="SERVICE_DISABLED", domain="googleapis.com", metadata=metadata
            ),
            detail("LocalizedMessage", locale="en-US", message=message),
            detail("Help", links=[link]),
        ],
    )
