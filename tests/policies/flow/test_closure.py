"""A quota that is closed for long is tried from time to time."""

from __future__ import annotations

from gemini_backend.policies.flow.closure import Closure


def test_one_call_tries_it_after_each_time() -> None:
    """The others wait; the next one may try after as long again."""
    closure = Closure()
    assert (0.0, False) == (closure.seconds(0.0), closure.take_probe(0.0))
    closure.close(10_000.0, 60.0, 0.0)
    assert (10_000.0, 60.0) == (closure.seconds(0.0), closure.probe_at)
    assert [False, True, False] == [closure.take_probe(now) for now in (59.0, 60.0, 61.0)]
    assert closure.take_probe(120.0)


def test_refused_again_it_is_tried_half_as_often() -> None:
    """Up to an hour."""
    closure = Closure()
    closure.close(1e9, 60.0, 0.0)
    now, pauses = 0.0, []
    for _ in range(9):
        pauses.append(closure.probe_at - now)
        now = closure.probe_at
        assert closure.take_probe(now)
        closure.close(1e9, 60.0, now)
    assert [60, 120, 240, 480, 960, 1920, 3600, 3600, 3600] == pauses


def test_what_was_sent_before_it_closed_changes_no_probe() -> None:
    """A crowd of refusals is one closing; the latest end counts."""
    closure = Closure()
    for until in (1000.0, 2000.0, 1500.0):
        closure.close(until, 60.0, 0.0)
    assert (2000.0, 60.0) == (closure.until, closure.probe_at)


def test_opened_it_is_open() -> None:
    """Closed anew it begins with short times."""
    closure = Closure()
    closure.close(1000.0, 60.0, 0.0)
    closure.take_probe(60.0)
    closure.open()
    assert (0.0, False) == (closure.seconds(61.0), closure.take_probe(500.0))
    closure.close(1000.0, 60.0, 500.0)
    assert 560.0 == closure.probe_at
