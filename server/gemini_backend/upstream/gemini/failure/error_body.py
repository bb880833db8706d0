"""Gemini's error bodies, read with tolerance: what is there is used, what is strange is kept."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any

from gemini_backend.errors import (
    MalformedAnswer,
    QuotaViolation,
    StreamCut,
    UpstreamReply,
    Violation,
)
from gemini_backend.upstream.gemini.body import decode, payloads_of
from gemini_backend.upstream.gemini.translation import free_json

_SECONDS = re.compile(r"([0-9]+(?:\.[0-9]+)?)s")
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


@dataclass(frozen=True, slots=True)
class ErrorBody:
    """One error as Gemini tells it."""

    reply: UpstreamReply

    @classmethod
    def read(cls, http_status: int, found: Any) -> ErrorBody:
        """Take what stands under `error`, whatever it is."""
        if not isinstance(found, dict):
            return cls(UpstreamReply(http_status, message=found if isinstance(found, str) else ""))
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
            )
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
        """Return the HTTP status that this error stands for, even inside a 200."""
        http = self.reply.http_status
        if http >= 300:  # noqa: PLR2004 - where HTTP's successes end
            return http
        return self.reply.code or _HTTP_STATUS.get(self.reply.status, 500)

    def reason(self) -> str:
        """Return the reason out of `ErrorInfo`, e.g. "API_KEY_INVALID"; empty without one."""
        return next((str(d["reason"]) for d in self._of("ErrorInfo") if "reason" in d), "")

    def retry_delay(self) -> float | None:
        """Return the seconds out of `RetryInfo`, to the fraction."""
        for detail in self._of("RetryInfo"):
            match = _SECONDS.fullmatch(str(detail.get("retryDelay")))
            if match and math.isfinite(seconds := float(match[1])):
                return seconds
        return None

    def quota_ids(self) -> list[str]:
        """Return the names of the quotas that are spent."""
        return [str(v["quotaId"]) for v in self._items("QuotaFailure", "violations") if _id(v)]

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


def _is_object(value: Any) -> bool:
    return isinstance(value, dict)


def _id(violation: dict[str, Any]) -> bool:
    return bool(violation.get("quotaId"))


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
