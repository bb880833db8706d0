"""What Gemini answers in place of an answer.

Covers: upstream/gemini/failure/error_body.py
"""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from zoneinfo import ZoneInfoNotFoundError

import pytest

from gemini_backend import errors
from gemini_backend.upstream.gemini.failure import quota_refusal
from gemini_backend.upstream.gemini.failure.classification import Failures
from gemini_backend.upstream.gemini.failure.quota_refusal import until_midnight_pacific
from gemini_backend.upstream.gemini.failure.unexplained import UnexplainedRefusal
from tests.support.messages import gemini_json

RPC = "type.googleapis.com/google.rpc."
NOON = datetime(2026, 11, 22, 20, 0, tzinfo=UTC)  # noon in California


def body(code: int, status: str, message: str, *details: dict[str, Any]) -> dict[str, Any]:
    """Return an error body of Gemini's."""
    error: dict[str, Any] = {"code": code, "message": message, "status": status}
    if details:
        error["details"] = [{"@type": RPC + detail.pop("kind"), **detail} for detail in details]
    return {"error": error}


def failed(found: Any, status: int | None = None, content_type: str = "application/json") -> Any:
    """Return the error for a body."""
    raw = found if isinstance(found, bytes) else json.dumps(found).encode()
    failures = Failures(lambda: ["models/gemini-2.5-flash", "models/gemini-2.5-pro"], lambda: NOON)
    http = found["error"]["code"] if status is None else status
    return failures.from_reply(http, raw, content_type, "models/gemini-2.5-flahs")


def info(reason: str) -> dict[str, Any]:
    """Return an ErrorInfo."""
    return {"kind": "ErrorInfo", "reason": reason, "domain": "googleapis.com"}


def quota(name: str) -> dict[str, Any]:
    """Return a QuotaFailure."""
    violation = {"quotaMetric": "m", "quotaId": name, "quotaDimensions": {"model": "x"}}
    return {"kind": "QuotaFailure", "violations": [{**violation, "quotaValue": "10"}]}


CASES = [
    (
        body(400, "INVALID_ARGUMENT", "API key not valid.", info("API_KEY_INVALID")),
        errors.KeyRefused,
    ),
    (body(403, "PERMISSION_DENIED", "Your API key was reported as leaked."), errors.KeyRefused),
    (body(401, "UNAUTHENTICATED", "no"), errors.KeyRefused),
    (body(400, "FAILED_PRECONDITION", "User location is not supported"), errors.ProjectRefused),
    (
        body(400, "FAILED_PRECONDITION", "The File x is not in an ACTIVE state"),
        errors.RefusedByModelApi,
    ),
    (
        body(403, "PERMISSION_DENIED", "not enabled", info("SERVICE_DISABLED")),
        errors.ProjectRefused,
    ),
    (body(400, "INVALID_ARGUMENT", "bad"), errors.RefusedByModelApi),
    (
        body(
            400,
            "INVALID_ARGUMENT",
            "The input token count (9) exceeds the maximum number of tokens allowed (8).",
        ),
        errors.ContextTooLong,
    ),
    (
        body(
            400,
            "INVALID_ARGUMENT",
            "Unable to submit request because the input token count is 9 but the model only "
            "supports up to 8. Reduce the input token count and try again.",
        ),
        errors.ContextTooLong,
    ),
    (body(400, "INVALID_ARGUMENT", "Input token count is required."), errors.RefusedByModelApi),
    (body(404, "NOT_FOUND", "models/x is not found for API version v1beta"), errors.UnknownModel),
    (body(404, "NOT_FOUND", "File x was not found"), errors.UnknownResource),
    (body(429, "RESOURCE_EXHAUSTED", "slow down"), errors.Throttled),
    (body(499, "CANCELLED", "The operation was cancelled."), errors.UpstreamCancelled),
    (body(500, "INTERNAL", "An internal error has occurred."), errors.UpstreamUnavailable),
    (body(502, "UNAVAILABLE", "bad gateway"), errors.UpstreamUnavailable),
    (body(503, "UNAVAILABLE", "The model is overloaded."), errors.UpstreamUnavailable),
    (body(504, "DEADLINE_EXCEEDED", "too late"), errors.UpstreamTimedOut),
    (body(418, "TEAPOT", "short and stout"), errors.RefusedByModelApi),
]


@pytest.mark.parametrize(("found", "kind"), CASES, ids=lambda case: str(case)[:40])
def test_each_refusal_has_its_kind(found: dict[str, Any], kind: type[errors.ServiceError]) -> None:
    """Gemini's words are in the message, and its body can be rebuilt."""
    error = failed(found)
    assert kind is type(error)
    assert found["error"]["message"].rstrip(".") in error.message
    assert found == gemini_json.of_refusal(error)


@pytest.mark.parametrize(("found", "kind"), CASES, ids=lambda case: str(case)[:40])
def test_inside_a_stream_it_is_the_same(
    found: dict[str, Any], kind: type[errors.ServiceError]
) -> None:
    """The body says what the status would have said, by its code or by its word."""
    assert kind is type(Failures().from_stream(found, "models/m"))
    assert kind is type(failed([found], found["error"]["code"]))


def test_a_throttle_waits_as_long_as_gemini_says() -> None:
    """To the fraction of a second; the quota is named."""
    delay = {"kind": "RetryInfo", "retryDelay": "45.837906927s"}
    error = failed(body(429, "RESOURCE_EXHAUSTED", "quota", quota("XPerMinuteY"), delay))
    assert (errors.Throttled, 45.837906927) == (type(error), error.retry_after)
    assert ["XPerMinuteY"] == [found.subject for found in error.quota]


def test_a_bare_throttle_says_no_time() -> None:
    """What is not known is not made up."""
    help_only = {"kind": "Help", "links": [{"description": "d", "url": "https://x.test"}]}
    error = failed(body(429, "RESOURCE_EXHAUSTED", "quota", help_only))
    assert (None, (("d", "https://x.test"),)) == (error.retry_after, error.links)


def test_a_quota_by_the_day_waits_for_midnight_in_california() -> None:
    """Whatever the misleading delay says."""
    delay = {"kind": "RetryInfo", "retryDelay": "12s"}
    error = failed(body(429, "RESOURCE_EXHAUSTED", "quota", delay, quota("RequestsPerDayPerModel")))
    assert (errors.DailyQuotaExhausted, 12 * 3600.0) == (type(error), error.retry_after)


@pytest.mark.parametrize(
    ("now", "hours"),
    [
        (datetime(2026, 7, 1, 6, 0, tzinfo=UTC), 1),  # 23:00 PDT
        (datetime(2026, 7, 1, 7, 0, tzinfo=UTC), 24),  # midnight PDT
        (datetime(2026, 11, 1, 7, 0, tzinfo=UTC), 25),  # the day on which the clocks go back
        (datetime(2026, 3, 8, 0, 0, tzinfo=timezone(timedelta(hours=-8))), 23),  # and forward
    ],
)
def test_midnight_is_midnight_there(now: datetime, hours: int) -> None:
    """Summer and winter time count."""
    assert hours * 3600 == until_midnight_pacific(now)


def test_an_unknown_model_brings_the_nearest_name() -> None:
    """The list that is known is searched."""
    error = failed(body(404, "NOT_FOUND", "models/gemini-2.5-flahs is not found"))
    assert "did you mean models/gemini-2.5-flash?" in error.message


def test_field_violations_and_metadata_are_passed_on() -> None:
    """BadRequest's fields, ErrorInfo's reason."""
    bad = {"kind": "BadRequest", "fieldViolations": [{"field": "contents[0]", "description": "x"}]}
    error = failed(body(400, "INVALID_ARGUMENT", "bad", bad, info("R")))
    assert [("contents[0]", "x")] == [(v.field, v.description) for v in error.violations]
    assert {"upstream_status": "INVALID_ARGUMENT", "upstream_reason": "R"} == error.metadata


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (200, errors.MalformedAnswer),
        (400, errors.RefusedByModelApi),
        (403, UnexplainedRefusal),
        (404, errors.MalformedAnswer),
        (429, errors.Throttled),
        (500, errors.UpstreamUnavailable),
        (502, errors.UpstreamUnavailable),
        (503, errors.UpstreamUnavailable),
        (504, errors.UpstreamTimedOut),
    ],
)
@pytest.mark.parametrize(
    "raw", [b"<html><title>Bad &amp; ugly</title>secret</html>", b"\xff", b"[]"]
)
def test_a_body_that_is_no_error_of_geminis(
    status: int, kind: type[errors.ServiceError], raw: bytes
) -> None:
    """Status, type and title are told, never the text."""
    error = failed(raw, status, "text/html; charset=utf-8")
    assert kind is type(error)
    assert f"HTTP {status} with {len(raw)} bytes of text/html" in error.message
    assert "secret" not in error.message
    if b"title" in raw:
        assert "'Bad & ugly'" in error.message


@pytest.mark.parametrize(
    "found",
    [
        {"error": "words"},
        {"error": None},
        {"error": {}},
        {"error": {"code": "503", "status": 3, "details": {"a": 1}, "message": None}},
        {"error": {"details": [{}, {"@type": 3}, {"@type": RPC + "RetryInfo", "retryDelay": 5}]}},
        {"error": {"details": [{"@type": RPC + "QuotaFailure", "violations": [None, 3, {}]}]}},
        {"error": {"details": [{"@type": RPC + "Help", "links": "x"}]}},
    ],
)
def test_strange_error_bodies_are_still_typed(found: dict[str, Any]) -> None:
    """Tolerance: what cannot be used is kept."""
    error = failed(found, 503)
    assert errors.UpstreamUnavailable is type(error)


def test_retry_after_counts_where_gemini_says_nothing() -> None:
    """A proxy before the API may send the header."""
    for said, seconds in (("7", 7), ("Wed, 21 Oct", None)):
        told = {"retry-after": said}
        error = Failures().from_reply(
            503, b"", "text/plain", "m", lambda name, told=told: told.get(name, "")
        )
        assert seconds == error.retry_after


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, errors.RefusedByModelApi),
        (401, errors.KeyRefused),
        (402, errors.ProjectRefused),
        (403, UnexplainedRefusal),
        (404, errors.UnknownResource),
        (405, errors.RefusedByModelApi),
        (408, errors.UpstreamTimedOut),
        (409, errors.UpstreamUnavailable),
        (410, errors.RefusedByModelApi),
        (413, errors.RefusedByModelApi),
        (422, errors.RefusedByModelApi),
        (425, errors.UpstreamUnavailable),
        (426, errors.RefusedByModelApi),
        (429, errors.Throttled),
        (499, errors.UpstreamCancelled),
        (500, errors.UpstreamUnavailable),
        (503, errors.UpstreamUnavailable),
        (504, errors.UpstreamTimedOut),
    ],
)
def test_a_status_alone_has_its_kind(status: int, kind: type[errors.ServiceError]) -> None:
    """Where the body has no more than words, the status decides."""
    assert kind is type(failed(body(status, "", "no")))


@pytest.mark.parametrize(
    ("status", "words", "kind"),
    [
        (400, "API key expired.", errors.KeyRefused),
        (403, "This was reported as leaked.", errors.KeyRefused),
        (404, "API key not found.", errors.UnknownResource),
        (400, "Bad key.", errors.RefusedByModelApi),
    ],
)
def test_words_tell_of_a_key(status: int, words: str, kind: type[errors.ServiceError]) -> None:
    """Without an ErrorInfo a key's refusal is known by Gemini's own words."""
    assert kind is type(failed(body(status, "", words)))


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (200, errors.MalformedAnswer),
        (299, errors.MalformedAnswer),
        (300, errors.UpstreamUnavailable),
        (302, errors.UpstreamUnavailable),
        (404, errors.MalformedAnswer),
        (401, UnexplainedRefusal),
        (429, errors.Throttled),
        (502, errors.UpstreamUnavailable),
    ],
)
def test_a_page_has_its_kind_by_its_status(status: int, kind: type[errors.ServiceError]) -> None:
    """What stands before the model API answers with pages."""
    assert kind is type(failed(b"<html></html>", status, "text/html"))


def test_without_zone_data_midnight_is_that_of_winter(monkeypatch: pytest.MonkeyPatch) -> None:
    """In winter that is right, in summer an hour late."""

    def unknown(_name: str) -> None:
        raise ZoneInfoNotFoundError

    monkeypatch.setattr(quota_refusal, "ZoneInfo", unknown)
    quota_refusal._pacific.cache_clear()
    try:
        assert 12 * 3600 == until_midnight_pacific(NOON)
        summer = datetime(2026, 7, 1, 19, 0, tzinfo=UTC)  # noon in California
        assert 13 * 3600 == until_midnight_pacific(summer)
    finally:
        quota_refusal._pacific.cache_clear()
