"""An error as a gRPC status."""

from __future__ import annotations

from typing import Any

from google.rpc import error_details_pb2

from gemini.backend.v1.error_details_pb2 import ExecutionFailure, UpstreamFailure
from gemini_backend.api.requests.status import PUSHBACK_KEY, status_of, trailers_of
from gemini_backend.errors import (
    InvalidRequest,
    MalformedAnswer,
    QuotaViolation,
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
    status = status_of(error)
    delay = detail(status, error_details_pb2.RetryInfo).retry_delay
    assert (45, 837_906_927) == (delay.seconds, delay.nanos)
    assert "45838" == trailers_of(error, status)[PUSHBACK_KEY]


def test_a_client_is_kept_from_retrying_in_vain() -> None:
    """A failure that no retry can help is pushed back for good; one that may help is not."""
    passing = Throttled("wait")
    for final in (InvalidRequest("bad"), MalformedAnswer("redirected").as_lasting()):
        assert "-1" == trailers_of(final, status_of(final))[PUSHBACK_KEY]
    assert PUSHBACK_KEY not in trailers_of(passing, status_of(passing))


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


def test_a_token_that_no_trailer_holds_is_told_of_by_its_size() -> None:
    """A continuation_token of up to 2 KiB comes with the failure; a longer one is left out."""
    for size, kept, told in ((2048, 2048, ""), (2049, 0, "2049")):
        error = Throttled("wait")
        error.failure = ExecutionFailure(last_sequence=7, continuation_token=b"x" * size)
        status = status_of(error)
        failure = detail(status, ExecutionFailure)
        info = detail(status, error_details_pb2.ErrorInfo)
        assert (kept, 7) == (len(failure.continuation_token), failure.last_sequence)
        assert told == info.metadata["continuation_token_bytes"]
        assert size == len(error.failure.continuation_token)
