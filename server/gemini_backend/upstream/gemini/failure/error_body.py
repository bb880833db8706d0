"""Gemini's error bodies, read with tolerance: what is there is used, what is strange is kept."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gemini_backend.errors import (
    MalformedAnswer,
    QuotaViolation,
    StreamCut,
    UpstreamReply,
    Violation,
)
from gemini_backend.upstream.gemini.body import decode, payloads_of
from gemini_backend.upstream.gemini.translation import free_json

if TYPE_CHECKING:
    from collections.abc import Iterator

# How often an error may stand as text in another one, and how large such a text may be.
_MAX_WRAPPED = 5
_WRAPPED_LIMIT = 65_536
_MAX_OBJECTS = 500
_HTTP_STATUS = {
    "CANCELLED": 499,
    "INVALID_ARGUMENT": 400,
    "DEADLINE_EXCEEDED": 504,
    "NOT_FOUND": 404,
    "ALREADY_EXISTS": 409,
    "PERMISSION_DENIED": 403,
    "UNAUTHENTICATED": 401,
    "RESOURCE_EXHAUSTED": 429,
    "FAILED_PRECONDITION": 400,
    "ABORTED": 409,
    "OUT_OF_RANGE": 400,
    "UNIMPLEMENTED": 501,
    "INTERNAL": 500,
    "UNKNOWN": 500,
    "UNAVAILABLE": 503,
    "DATA_LOSS": 500,
}
# By the numbers that gRPC has for the same words.
_HTTP_STATUS_OF_GRPC = {1: 499, 2: 500, 3: 400, 4: 504, 5: 404, 6: 409, 7: 403, 8: 429, 9: 400}
_HTTP_STATUS_OF_GRPC |= {10: 409, 11: 400, 12: 501, 13: 500, 14: 503, 15: 500, 16: 401}


@dataclass(frozen=True, slots=True)
class ErrorBody:
    """One error as Gemini tells it.

    `wrapped` says that it stood as text in the error of a server between: then its own code says
    what it is, not that server's status.
    """

    reply: UpstreamReply
    wrapped: bool = False

    @classmethod
    def read(cls, http_status: int, found: Any) -> ErrorBody:
        """Take what stands under `error`, whatever it is; what stands in it as text, if it does."""
        inner = _innermost(found)
        return cls._read(http_status, found if inner is None else inner, inner is not None)

    @classmethod
    def _read(cls, http_status: int, found: Any, wrapped: bool) -> ErrorBody:  # noqa: FBT001 - private
        if not isinstance(found, dict):
            words = found if isinstance(found, str) else ""
            return cls(UpstreamReply(http_status, message=words), wrapped)
        rest = dict(found)
        code = rest.get("code")
        code = rest.pop("code") if type(code) is int and 0 <= code < 2**31 else None
        texts = {
            name: rest.pop(name)
            for name in ("status", "message")
            if isinstance(rest.get(name), str) and rest[name]
        }
        details = rest.get("details")
        if isinstance(details, list) and details and all(isinstance(d, dict) for d in details):
            del rest["details"]
        else:
            details = []
        return cls(
            UpstreamReply(
                http_status,
                code,
                **texts,
                details=tuple(_bearable(detail) for detail in details),
                extra=_bearable(rest),
            ),
            wrapped,
        )

    @classmethod
    def parse(cls, http_status: int, body: bytes) -> ErrorBody | None:
        """Read a body of whatever form; None when it holds no error of Gemini's."""
        try:
            found = [decode.json_value(payload) for payload in payloads_of(body)]
        except (MalformedAnswer, StreamCut):
            return None
        for item in found:
            if isinstance(item, dict) and item.get("error") is not None:
                return cls.read(http_status, item["error"])
        return None

    def status(self) -> int:
        """Return the HTTP status that this error stands for, even inside a 200 or another error."""
        http = self.reply.http_status
        if http >= 300 and not self.wrapped:  # noqa: PLR2004 - where HTTP's successes end
            return http
        code = self._code()
        if 400 <= code < 600:  # noqa: PLR2004 - HTTP's failures
            return code
        status = _HTTP_STATUS.get(self.reply.status) or _HTTP_STATUS_OF_GRPC.get(code)
        return status or (http if http >= 300 else 500)  # noqa: PLR2004 - as above

    def _code(self) -> int:
        """Return the code, though it be text; 0 for none."""
        text = self.reply.extra.get("code")
        if self.reply.code is None and isinstance(text, str) and re.fullmatch("[0-9]{1,3}", text):
            return int(text)
        return self.reply.code or 0

    def reason(self) -> str:
        """Return the reason out of `ErrorInfo`, e.g. "API_KEY_INVALID"; empty without one."""
        return next((str(d["reason"]) for d in self._of("ErrorInfo") if "reason" in d), "")

    def objects(self) -> Iterator[dict[str, Any]]:
        """Yield every object of the error, the details first; of strange ones the beginning."""
        waiting: list[Any] = [*self.reply.details, self.reply.extra]
        seen = 0
        while waiting and seen < _MAX_OBJECTS:
            seen += 1
            one = waiting.pop(0)
            if isinstance(one, dict):
                yield one
                waiting += one.values()
            elif isinstance(one, list):
                waiting += one

    def quota(self) -> list[QuotaViolation]:
        """Return the quotas that are spent, in words."""
        return [
            QuotaViolation(
                subject=str(v.get("quotaId") or v.get("subject") or ""),
                description=str(v.get("description") or _quota_words(v)),
            )
            for v in self._items("QuotaFailure", "violations")
        ]

    def violations(self) -> list[Violation]:
        """Return the fields of Gemini's request that it complains of, by its own names."""
        return [
            Violation(str(v.get("field", "")), str(v.get("description", "")), "upstream")
            for v in self._items("BadRequest", "fieldViolations")
        ]

    def links(self) -> list[tuple[str, str]]:
        """Return the addresses that Gemini gives for help."""
        return [
            (str(link.get("description", "")), str(link["url"]))
            for link in self._items("Help", "links")
            if link.get("url")
        ]

    def _of(self, kind: str) -> list[dict[str, Any]]:
        suffix = f"google.rpc.{kind}"
        return [dict(d) for d in self.reply.details if str(d.get("@type", "")).endswith(suffix)]

    def _items(self, kind: str, name: str) -> list[dict[str, Any]]:
        lists = [d.get(name) for d in self._of(kind)]
        return [v for found in lists if isinstance(found, list) for v in found if _is_object(v)]


def _innermost(found: Any) -> Any:
    """Return the error that stands as text in an error, or in one that does; None for none.

    Only text that is JSON as a whole counts: a message may quote what the caller has sent.
    """
    inner = None
    for _ in range(_MAX_WRAPPED):
        deeper = next((error for text in _texts(found) if (error := _error_in(text))), None)
        if deeper is None:
            break
        inner = found = deeper
    return inner


def _texts(found: Any) -> Iterator[str]:
    """Yield the texts of an error that may hold another one."""
    if isinstance(found, str):
        yield found
    elif isinstance(found, dict):
        yield from (value for value in found.values() if isinstance(value, str))
        more = found.get("metadata")
        if isinstance(more, dict):
            yield from (value for value in more.values() if isinstance(value, str))


def _error_in(text: str) -> Any:
    """Return what a text has under `error`, if it is JSON; None where it has no error."""
    if not text.lstrip().startswith(("{", "[")) or len(text) > _WRAPPED_LIMIT:
        return None
    try:
        found = decode.json_value(text.encode())
    except (MalformedAnswer, UnicodeEncodeError):
        return None
    for item in found if isinstance(found, list) else [found]:
        if isinstance(item, dict):
            error = item.get("error")
            if isinstance(error, dict):
                return error
            if "code" in item and ("message" in item or "status" in item):
                return item
    return None


def _is_object(value: Any) -> bool:
    return isinstance(value, dict)


def _quota_words(violation: dict[str, Any]) -> str:
    words = [f"{violation.get('quotaMetric', '')}"]
    if "quotaValue" in violation:
        words.append(f"limit {violation['quotaValue']}")
    dimensions = violation.get("quotaDimensions")
    if isinstance(dimensions, dict):
        words += [f"{name} {value}" for name, value in dimensions.items()]
    return ", ".join(word for word in words if word)


def _bearable(value: dict[str, Any]) -> dict[str, Any]:
    try:
        return free_json.free(value)
    except MalformedAnswer:
        return {}
