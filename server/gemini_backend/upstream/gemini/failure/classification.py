"""Whatever Gemini answers in place of an answer, as one of our own errors."""

from __future__ import annotations

import difflib
import re
from datetime import UTC, datetime, time, timedelta, timezone, tzinfo
from functools import cache
from html import unescape
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from gemini_backend import errors
from gemini_backend.models.names import short_name
from gemini_backend.upstream.gemini.failure.error_body import ErrorBody

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_TITLE = re.compile(rb"<title[^>]*>\s*(.{0,200}?)\s*</title>", re.IGNORECASE | re.DOTALL)
# Gemini has no code of its own for it: "The input token count (…) exceeds the maximum number of …"
_TOO_LONG = re.compile(r"input token count\b.*?\b(exceeds|only supports)\b", re.IGNORECASE)
_BUSY = (409, 425)


class Failures:
    """Tells failures apart."""

    def __init__(
        self,
        known_models: Callable[[], Iterable[str]] = tuple,
        wall: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """Tell failures apart.

        Args:
            known_models: Gives the names to suggest in place of an unknown one.
            wall: Gives the time of day, with its zone; quotas by the day end at a certain hour.
        """
        self._known = known_models
        self._wall = wall

    def from_reply(
        self, http_status: int, body: bytes, content_type: str, model: str, retry_after: str = ""
    ) -> errors.ServiceError:
        """Return the error that an answer with this status and body is."""
        found = ErrorBody.parse(http_status, body)
        if found is None:
            return _wordless(http_status, body, content_type, _header_seconds(retry_after))
        return self._tell(found, model, _header_seconds(retry_after))

    def from_stream(self, answer: dict[str, Any], model: str) -> errors.ServiceError:
        """Return the error that stands in an answer with status 200."""
        return self._tell(ErrorBody.read(200, answer.get("error")), model, None)

    def _tell(
        self, found: ErrorBody, model: str, header_delay: float | None
    ) -> errors.ServiceError:
        status = found.status()
        words = found.reply.message or f"HTTP {status} {found.reply.status}".strip()
        words = words.rstrip(". \n")  # our own words follow
        delay = found.retry_delay()
        kind, text, delay = self._kind(
            found, status, model, words, header_delay if delay is None else delay
        )
        told = (("upstream_status", found.reply.status), ("upstream_reason", found.reason()))
        return kind(
            text,
            retry_after=delay,
            violations=found.violations(),
            quota=found.quota(),
            links=found.links(),
            upstream=found.reply,
            metadata={name: value for name, value in told if value},
        )

    def _kind(
        self, found: ErrorBody, status: int, model: str, words: str, delay: float | None
    ) -> tuple[type[errors.ServiceError], str, float | None]:
        """Return the class, the message, and after how many seconds a retry may help."""
        if _is_key(found, status):
            text = f"the model API refused this server's key: {words}; put a valid one into "
            return errors.KeyRefused, f"{text}upstream.gemini.api_keys", None
        if _is_project(found, status):
            return (
                errors.ProjectRefused,
                f"the model API refuses the key's project: {words}",
                None,
            )
        if status == 429:  # noqa: PLR2004 - the status itself
            return self._spent(found, words, delay)
        if status == 404:  # noqa: PLR2004 - the status itself
            return *self._missing(model, words), None
        return *_by_status(status, words), delay

    def _spent(
        self, found: ErrorBody, words: str, delay: float | None
    ) -> tuple[type[errors.ServiceError], str, float | None]:
        if any("PerDay" in quota for quota in found.quota_ids()):
            # the delay that comes with it is that of another quota
            return (
                errors.DailyQuotaExhausted,
                f"a quota per day is used up until midnight Pacific time: {words}",
                until_midnight_pacific(self._wall()),
            )
        return errors.Throttled, f"the model API throttles this project: {words}", delay

    def _missing(self, model: str, words: str) -> tuple[type[errors.ServiceError], str]:
        if "model" not in words.lower():
            return errors.UnknownResource, f"the model API cannot find the resource: {words}"
        known = {short_name(name): name for name in self._known()}
        near = difflib.get_close_matches(short_name(model), known, n=1)
        hint = f"; did you mean {known[near[0]]}?" if near else ""
        return errors.UnknownModel, f"the model API does not know the model: {words}{hint}"


def until_midnight_pacific(now: datetime) -> float:
    """Return the seconds from `now`, a time with a zone, to the next midnight in California."""
    here = now.astimezone(_pacific())
    midnight = datetime.combine(here.date() + timedelta(days=1), time(), here.tzinfo)
    return (midnight.astimezone(UTC) - now.astimezone(UTC)).total_seconds()


@cache
def _pacific() -> tzinfo:
    try:
        return ZoneInfo("America/Los_Angeles")
    except ZoneInfoNotFoundError:  # no zone data here: winter time is at most an hour late
        return timezone(timedelta(hours=-8))


def _is_key(found: ErrorBody, status: int) -> bool:
    words = found.reply.message.lower()
    return (
        found.reason().startswith("API_KEY_")
        or status == 401  # noqa: PLR2004 - the status itself
        or (status in {400, 403} and ("api key" in words or "reported as leaked" in words))
    )


def _is_project(found: ErrorBody, status: int) -> bool:
    if status in {402, 403}:
        return True
    # such a 400 is for a region, for billing, or, alone the caller's fault, for a file not ready
    return found.reply.status == "FAILED_PRECONDITION" and "file" not in found.reply.message.lower()


def _by_status(status: int, words: str) -> tuple[type[errors.ServiceError], str]:
    if status in {408, 504}:
        return (
            errors.UpstreamTimedOut,
            f"the model API gave up: {words}; use a shorter prompt or a later deadline",
        )
    if status == 499:  # noqa: PLR2004 - the status itself
        return errors.UpstreamCancelled, f"the model API cancelled the call: {words}; retry"
    if status == 400 and _TOO_LONG.search(words):  # noqa: PLR2004 - the status itself
        return (
            errors.ContextTooLong,
            f"the request is too long for the model: {words}; shorten it, or name other models",
        )
    if 400 <= status < 500 and status not in _BUSY:  # noqa: PLR2004 - HTTP's faults of the caller
        return errors.RefusedByModelApi, f"the model API refused the request: {words}"
    return errors.UpstreamUnavailable, f"the model API is not available: {words}; retry"


def _wordless(
    status: int, body: bytes, content_type: str, delay: float | None
) -> errors.ServiceError:
    """Return the error for a body that is none of Gemini's; its text is not passed on."""
    title = _TITLE.search(body[:65536]) if b"<" in body[:1024] else None
    named = f" titled {unescape(title[1].decode(errors='replace'))!r}" if title else ""
    kind = content_type.partition(";")[0].strip() or "no content type"
    words = f"HTTP {status} with {len(body)} bytes of {kind}{named}"
    reply = errors.UpstreamReply(http_status=status)
    if status == 404:  # noqa: PLR2004 - the status itself
        return errors.MalformedAnswer(
            f"there is no Gemini API at the address ({words}); check upstream.gemini.base_url and "
            "upstream.gemini.api_version",
            upstream=reply,
        )
    if status in {401, 403}:
        return errors.ProjectRefused(
            f"a component in front of the model API refuses access ({words}); check the network's "
            "proxy and upstream.gemini.base_url",
            upstream=reply,
        )
    if status == 429:  # noqa: PLR2004 - the status itself
        return errors.Throttled(
            f"the model API throttles this server ({words})", retry_after=delay, upstream=reply
        )
    if 200 <= status < 300:  # noqa: PLR2004 - HTTP's successes
        return errors.MalformedAnswer(
            f"the model API sent an unexpected response ({words}); retry, and check "
            "upstream.gemini.base_url if it persists",
            upstream=reply,
        )
    kind_of, text = _by_status(status, words)
    return kind_of(text, retry_after=delay, upstream=reply)


def _header_seconds(text: str) -> float | None:
    return float(text) if text.isascii() and text.isdigit() and len(text) < 10 else None  # noqa: PLR2004 - thirty years are enough
