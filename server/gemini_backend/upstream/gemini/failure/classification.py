"""Whatever Gemini answers in place of an answer, as one of our own errors."""

from __future__ import annotations

import difflib
import re
from datetime import UTC, datetime
from html import unescape
from typing import TYPE_CHECKING, Any

from gemini_backend import errors
from gemini_backend.models.names import short_name
from gemini_backend.upstream.gemini.failure import blame, quota_refusal, retry_hints
from gemini_backend.upstream.gemini.failure.blame import Blame
from gemini_backend.upstream.gemini.failure.error_body import ErrorBody
from gemini_backend.upstream.gemini.failure.unexplained import UnexplainedRefusal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_TITLE = re.compile(rb"<title[^>]*>\s*(.{0,200}?)\s*</title>", re.IGNORECASE | re.DOTALL)
# Gemini has no code of its own for it: "The input token count (…) exceeds the maximum number of …"
_TOO_LONG = re.compile(r"input token count\b.*?\b(exceeds|only supports)\b", re.IGNORECASE)
_BUSY = (409, 425)
# Only these say when to come back; in other refusals a sentence may be the caller's own.
_SAYS_WHEN = frozenset({429, 503})
_PAGE_LIMIT = 16_384
_ACCESS: dict[Blame, tuple[type[errors.ServiceError], str]] = {
    Blame.KEY: (
        errors.KeyRefused,
        (
            "the model API refused this server's key: {words}; put a valid one into "
            "upstream.gemini.api_keys"
        ),
    ),
    Blame.PROJECT: (errors.ProjectRefused, "the model API refuses the key's project: {words}"),
    Blame.RESOURCE: (
        errors.UnknownResource,
        (
            "the model API does not give access to what the request names: {words}; check the "
            "name, whether it has expired, and that it belongs to the project of a configured key"
        ),
    ),
    Blame.NOBODY_KNOWN: (UnexplainedRefusal, "the model API refuses access: {words}"),
}


def _no_header(_name: str) -> str:
    return ""


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
        self,
        http_status: int,
        body: bytes,
        content_type: str,
        model: str,
        header: Callable[[str], str] = _no_header,
    ) -> errors.ServiceError:
        """Return the error that an answer with this status and body is.

        `header` gives a header of the answer by its name, empty where it is not there.
        """
        found = ErrorBody.parse(http_status, body)
        delay = retry_hints.in_headers(header, self._wall())
        if found is not None:
            return self._tell(found, model, delay)
        if delay is None and http_status in _SAYS_WHEN:
            text = body[:_PAGE_LIMIT].decode(errors="replace")
            delay = retry_hints.in_words(text, self._wall())
        return _wordless(http_status, body, content_type, delay)

    def from_stream(self, answer: dict[str, Any], model: str) -> errors.ServiceError:
        """Return the error that stands in an answer with status 200."""
        return self._tell(ErrorBody.read(200, answer.get("error")), model, None)

    def _tell(
        self, found: ErrorBody, model: str, header_delay: float | None
    ) -> errors.ServiceError:
        status = found.status()
        words = found.reply.message or f"HTTP {status} {found.reply.status}".strip()
        words = words.rstrip(". \n")  # our own words follow
        delay = retry_hints.in_details(found.objects(), self._wall()) or header_delay
        if delay is None and status in _SAYS_WHEN:
            delay = retry_hints.in_words(words, self._wall())
        kind, text, delay = self._kind(found, status, model, words, delay)
        told = (("upstream_status", found.reply.status), ("upstream_reason", found.reason()))
        error = kind(
            text,
            retry_after=delay,
            violations=found.violations(),
            quota=found.quota(),
            links=found.links(),
            upstream=found.reply,
            metadata={name: value for name, value in told if value},
        )
        if isinstance(error, errors.OutOfQuota):
            error.concerns_model = not quota_refusal.is_of_a_tool(found)
        return error

    def _kind(
        self, found: ErrorBody, status: int, model: str, words: str, delay: float | None
    ) -> quota_refusal.Kind:
        """Return the class, the message, and after how many seconds a retry may help."""
        refused = _ACCESS.get(blame.of(found, status))
        if refused is not None:
            kind, text = refused
            return kind, text.format(words=words), None
        if status == 429:  # noqa: PLR2004 - the status itself
            return quota_refusal.kind_of(found, words, delay, self._wall())
        if status == 404:  # noqa: PLR2004 - the status itself
            return *self._missing(model, words), None
        return *_by_status(status, words), delay

    def _missing(self, model: str, words: str) -> tuple[type[errors.ServiceError], str]:
        tuned = model.startswith("tunedModels/")
        if "model" not in words.lower() or (blame.names_resource(words) and not tuned):
            return errors.UnknownResource, f"the model API cannot find the resource: {words}"
        known = {short_name(name): name for name in self._known()}
        near = difflib.get_close_matches(short_name(model), known, n=1)
        hint = f"; did you mean {known[near[0]]}?" if near else ""
        return errors.UnknownModel, f"the model API does not know the model: {words}{hint}"


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
        return UnexplainedRefusal(
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
