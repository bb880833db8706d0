"""What a 429 says is used up."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from gemini_backend import errors
from gemini_backend.upstream.gemini.failure.classification import Failures

RPC = "type.googleapis.com/google.rpc."
NOON = datetime(2026, 11, 22, 20, 0, tzinfo=UTC)  # noon in California
MIDNIGHT = 12 * 3600.0
USUAL = (
    "You exceeded your current quota, please check your plan and billing details. For more "
    "information on this error, head over to: https://ai.google.dev/gemini-api/docs/rate-limits."
)


def refused(found: Any, status: int = 429) -> Any:
    """Return the error for a body."""
    raw = found if isinstance(found, bytes) else json.dumps(found).encode()
    return Failures(wall=lambda: NOON).from_reply(status, raw, "application/json", "models/m")


def body(message: str, *details: dict[str, Any]) -> dict[str, Any]:
    """Return a 429 of Gemini's."""
    error = {"code": 429, "message": message, "status": "RESOURCE_EXHAUSTED"}
    return {"error": {**error, "details": list(details)}}


def quota(name: str, value: str = "10", metric: str = "m") -> dict[str, Any]:
    """Return a QuotaFailure."""
    violation = {"quotaMetric": metric, "quotaId": name, "quotaValue": value}
    return {"@type": RPC + "QuotaFailure", "violations": [violation]}


def info(**metadata: str) -> dict[str, Any]:
    """Return an ErrorInfo with metadata."""
    return {"@type": RPC + "ErrorInfo", "reason": "RATE_LIMIT_EXCEEDED", "metadata": metadata}


DELAY = {"@type": RPC + "RetryInfo", "retryDelay": "30s"}
MONEY, DAY, MINUTE = errors.AccountLimited, errors.DailyQuotaExhausted, errors.Throttled


@pytest.mark.parametrize(
    ("found", "kind", "seconds"),
    [
        (body(USUAL, DELAY), MINUTE, 30),
        (body(USUAL, DELAY, quota("GenerateRequestsPerMinutePerProject")), MINUTE, 30),
        (body(USUAL, DELAY, quota("GenerateRequestsPerDayPerProject")), DAY, MIDNIGHT),
        (body(USUAL, quota("DailyRequests")), DAY, MIDNIGHT),
        (body(USUAL, info(quota_limit="RequestsPerDayPerProject")), DAY, MIDNIGHT),
        (body(USUAL, info(quota_unit="1/d/{project}")), DAY, MIDNIGHT),
        (body("limit 'GenerateContent request limit per day for a region'"), DAY, MIDNIGHT),
        (body("Daily quota used up. Your quota will reset after 5h."), DAY, 5 * 3600),
        # the names of the quotas count for more than the sentence
        (body("See your daily limits.", DELAY, quota("XPerMinute")), MINUTE, 30),
        (body("Quota exceeded for metric: x, limit: 0, model: m", DELAY), DAY, None),
        (body("Quota exceeded for metric: x, limit: 0.5, model: m", DELAY), MINUTE, 30),
        (body("Quota exceeded for metric: x, limit: 05, model: m", DELAY), MINUTE, 30),
        (body(USUAL, DELAY, quota("TokensPerMinute", "0")), DAY, None),
        (body("Your project has exceeded its monthly spending cap."), MONEY, None),
        (body("Your prepayment credits are depleted."), MONEY, None),
        (body("The project exceeded the spend-based rate limit.", DELAY), MONEY, 30),
        (body("Project p has exceeded its monthly budget."), MONEY, None),
        (body(USUAL, DELAY, quota("SpendPerProjectPerTenMinutes")), MONEY, 30),
    ],
)
def test_each_quota_has_its_kind(found: Any, kind: type, seconds: float | None) -> None:
    """By its names, else by the words; and the time that is right for its kind."""
    error = refused(found)
    assert (kind, seconds) == (type(error), error.retry_after)


WRAPPED = json.dumps(body(USUAL, DELAY, quota("RequestsPerDay")))


@pytest.mark.parametrize(
    "found",
    [
        {"error": {"message": WRAPPED, "code": 429, "status": "Too Many Requests"}},
        {"error": {"message": json.dumps({"error": {"message": WRAPPED}}), "code": 502}},
        {"error": {"message": "Provider error", "code": 429, "metadata": {"raw": WRAPPED}}},
        {"error": WRAPPED},
        [json.loads(WRAPPED)],
        b"data: " + WRAPPED.encode() + b"\r\n\r\n",
    ],
)
def test_an_error_within_an_error_counts_as_what_it_is(found: Any) -> None:
    """As text in a message, twice over, beside it, in an array, in the framing of a stream."""
    for status in (429, 500):
        error = refused(found, status)
        wrapped = status == 429 or not isinstance(found, list | bytes)
        assert (DAY if wrapped else errors.UpstreamUnavailable) is type(error)


def test_a_message_that_quotes_an_error_is_none() -> None:
    """A caller whose request is quoted cannot make it the key's fault."""
    quoted = json.dumps({"error": {"code": 400, "message": "API key not valid", "status": "X"}})
    error = refused({"error": {"code": 400, "message": f"Invalid value: {quoted}"}}, 400)
    assert errors.RefusedByModelApi is type(error)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [(b"rate limited, retry after 20 seconds", 20), (b"<p>Please wait 1 minute</p>", 60)],
)
def test_a_page_may_say_when(text: bytes, seconds: float) -> None:
    """What stands before the model API writes text."""
    assert (MINUTE, seconds) == (type(refused(text)), refused(text).retry_after)
    assert seconds == refused(text, 503).retry_after


@pytest.mark.parametrize(
    ("names", "concerned"),
    [
        (("SearchGroundingRequestsPerDay",), False),
        (("GoogleMapsRequestsPerMinute",), False),
        (("GenerateRequestsPerDay", "SearchGroundingRequestsPerDay"), True),
        ((), True),
    ],
)
def test_a_tools_quota_is_not_the_models(names: tuple[str, ...], concerned: bool) -> None:
    """Who does not use the tool need not wait."""
    assert concerned == refused(body(USUAL, *(quota(name) for name in names))).concerns_model


@pytest.mark.parametrize(
    ("code", "kind"),
    [("503", errors.UpstreamUnavailable), (8, MINUTE), (14, errors.UpstreamUnavailable)],
)
def test_a_code_in_a_stream_may_be_text_or_grpcs(code: Any, kind: type) -> None:
    """Without a status of HTTP's the code says what it is."""
    assert kind is type(Failures().from_stream({"error": {"code": code}}, "models/m"))
