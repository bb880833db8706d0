"""An error as a gRPC status."""

from __future__ import annotations

import string
from typing import Any
from urllib.parse import quote

import pytest
from google.rpc import error_details_pb2, status_pb2

from gemini.backend.v1.error_details_pb2 import ExecutionFailure, UpstreamFailure
from gemini_backend import masking
from gemini_backend.api.requests.metadata_size import METADATA_BYTES, size_of
from gemini_backend.api.requests.pushback import PUSHBACK_KEY
from gemini_backend.api.requests.status import (
    DETAILS_KEY,
    MESSAGE_BYTES,
    MOST_ENTRIES,
    refusal_of,
    status_of,
)
from gemini_backend.errors import (
    InvalidRequest,
    QuotaViolation,
    ServiceError,
    Throttled,
    UpstreamReply,
    Violation,
)


def detail(status: Any, kind: Any) -> Any:
    """Return the one detail of this kind."""
    (packed,) = [item for item in status.details if item.Is(kind.DESCRIPTOR)]
    message = kind()
    packed.Unpack(message)
    return message


def test_no_status_has_a_secret() -> None:
    """Whatever the origin of an error's words, secrets in them are masked."""
    key = "one-secret-key-of-the-statuses"
    masking.remember([key])
    violation = Violation(key, key, "rule")
    message, trailers = refusal_of(InvalidRequest(f"no {key}", violations=[violation]), "e1")
    assert "no [key]" == message == status_of(InvalidRequest(f"no {key}")).message
    assert key.encode() not in bytes(trailers[DETAILS_KEY])


def test_every_status_names_its_reason() -> None:
    """ErrorInfo carries the domain and the reason from the closed set."""
    info = detail(status_of(InvalidRequest("bad")), error_details_pb2.ErrorInfo)
    assert ("gemini.backend", "CALLER_INVALID_REQUEST") == (info.domain, info.reason)


def test_violations_become_a_bad_request() -> None:
    """Each violation keeps its field, its words and its rule."""
    error = InvalidRequest("bad", violations=[Violation("a.b", "is bad", "rule.id")])
    (violation,) = detail(status_of(error), error_details_pb2.BadRequest).field_violations
    assert ("a.b", "is bad", "rule.id") == (
        violation.field,
        violation.description,
        violation.reason,
    )


def test_waiting_times_keep_their_fraction() -> None:
    """RetryInfo has the delay to the nanosecond, the pushback is rounded up to milliseconds."""
    error = Throttled("wait", retry_after=45.837906927)
    delay = detail(status_of(error), error_details_pb2.RetryInfo).retry_delay
    assert (45, 837_906_927) == (delay.seconds, delay.nanos)
    assert "45838" == refusal_of(error, "executions/1")[1][PUSHBACK_KEY]


def test_trailers_hold_the_status_and_what_keeps_from_retries() -> None:
    """The details have the very message; the pushback is absent where the client may choose."""
    for error, pushback in ((InvalidRequest("bad"), "-1"), (Throttled("wait"), None)):
        message, trailers = refusal_of(error, "executions/1")
        assert (error.message, pushback) == (message, trailers.get(PUSHBACK_KEY))
        assert trailers[DETAILS_KEY] == status_of(error).SerializeToString()


@pytest.mark.parametrize("error", [InvalidRequest("无效的参数" * 3000), Throttled("m" * 90_000)])
def test_trailers_fit_together_with_what_else_is_sent(error: ServiceError) -> None:
    """All metadata is within its limit, and clients find the same message twice."""
    others = (("gemini-backend-cache", "MISS"), ("x-other", "v" * 900))
    message, trailers = refusal_of(error, "executions/1", others=others)
    details = trailers[DETAILS_KEY]
    assert isinstance(details, bytes)
    status = status_pb2.Status.FromString(details)
    assert message == status.message
    encoded = len(quote(message, safe=string.ascii_letters))
    sent = sum(size_of(key, value) for key, value in (*others, *trailers.items()))
    most = METADATA_BYTES + len(DETAILS_KEY) + 32
    assert most - 48 < encoded + sent <= most


def test_a_status_within_a_message_may_be_larger() -> None:
    """It has all that trailers could not hold, up to a limit of its own."""
    error = InvalidRequest("bad", violations=[Violation(f"a[{n}]", "is bad") for n in range(900)])
    assert 900 == len(detail(status_of(error), error_details_pb2.BadRequest).field_violations)
    huge = status_of(InvalidRequest("m" * 4 * MESSAGE_BYTES))
    assert MESSAGE_BYTES - 64 < huge.ByteSize() <= MESSAGE_BYTES


def test_more_violations_than_anyone_reads_are_counted() -> None:
    """The first thousand stand in the status, the number of the others beside them."""
    error = InvalidRequest("bad", violations=[Violation("a", "is bad")] * (MOST_ENTRIES + 7))
    status = status_of(error)
    named = detail(status, error_details_pb2.BadRequest).field_violations
    info = detail(status, error_details_pb2.ErrorInfo)
    assert (MOST_ENTRIES, "violations:7") == (len(named), info.metadata["shortened"])


def test_what_the_model_api_said_is_kept_whole() -> None:
    """The upstream's own error object can be made again from the details."""
    reply = UpstreamReply(429, 429, "RESOURCE_EXHAUSTED", "slow", ({"@type": "x", "n": 1},))
    error = Throttled(
        "slow",
        upstream=reply,
        quota=[QuotaViolation("project", "per minute")],
        links=[("Quotas", "https://example.com")],
    )
    error.failure = ExecutionFailure(execution="e1", last_sequence=3)
    status = status_of(error)
    failure = detail(status, UpstreamFailure)
    assert (429, 429, "RESOURCE_EXHAUSTED", "slow", {"@type": "x", "n": 1}) == (
        failure.http_status,
        failure.code,
        failure.status,
        failure.message,
        dict(failure.details[0].items()),
    )
    assert 3 == detail(status, ExecutionFailure).last_sequence
    assert "project" == detail(status, error_details_pb2.QuotaFailure).violations[0].subject
    assert "https://example.com" == detail(status, error_details_pb2.Help).links[0].url
