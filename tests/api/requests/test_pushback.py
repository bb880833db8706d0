"""How long a client's own retries have to wait."""

from __future__ import annotations

import pytest

from gemini_backend.api.requests.pushback import NEVER, pushback_of
from gemini_backend.errors import (
    DailyQuotaExhausted,
    InvalidRequest,
    MalformedAnswer,
    ServiceError,
    Throttled,
    UpstreamUnavailable,
)

NAMES = [f"executions/{number}" for number in range(200)]


def used_up(error: ServiceError) -> ServiceError:
    """Return the error as it is when the server's own attempts are used up."""
    error.final = True
    return error


@pytest.mark.parametrize("error", [InvalidRequest("bad"), DailyQuotaExhausted("x", retry_after=9)])
def test_what_is_not_to_be_retried_is_never_retried(error: ServiceError) -> None:
    """Whatever time the error names: it is not one after which a retry within the call helps."""
    assert NEVER == pushback_of(error, "executions/1", None)


def test_the_time_that_an_error_names_is_kept_to_the_millisecond() -> None:
    """Rounded up, so that nobody comes too early."""
    assert 45838 == pushback_of(Throttled("wait", retry_after=45.837906927), "executions/1", None)
    assert pushback_of(Throttled("wait"), "executions/1", None) is None


@pytest.mark.parametrize(
    "error", [used_up(UpstreamUnavailable("down")), MalformedAnswer("redirected").as_lasting()]
)
def test_used_up_attempts_make_clients_wait_each_its_own_time(error: ServiceError) -> None:
    """From 2 to 5 seconds, spread out, and the same for the same execution."""
    waits = [pushback_of(error, name, None) for name in NAMES]
    assert waits == [pushback_of(error, name, None) for name in NAMES]
    known = [wait for wait in waits if wait is not None]
    assert len(NAMES) == len(known)
    assert 2000 <= min(known) < 2300
    assert 4700 < max(known) <= 5000


@pytest.mark.parametrize("seconds", [0.5, 60.0])
def test_the_time_that_is_named_outweighs_used_up_attempts(seconds: float) -> None:
    """Who knows when the trouble is over knows better; pushback and RetryInfo are the same."""
    error = used_up(Throttled("wait", retry_after=seconds))
    assert seconds * 1000 == pushback_of(error, "executions/1", None)


def test_no_wait_outlasts_the_deadline() -> None:
    """A client that waits for longer than its deadline would lose the status."""
    assert pushback_of(Throttled("wait", retry_after=60), "executions/1", 30.0) is None
    assert 1000 == pushback_of(used_up(UpstreamUnavailable("down")), "executions/1", 2.0)
    assert NEVER == pushback_of(InvalidRequest("bad"), "executions/1", 0.0)
