"""How long a connection settles before it is used again."""

from __future__ import annotations

import pytest

from gemini_backend.upstream.gemini.connection.settling import Settling


def test_whoever_sends_unasked_is_waited_for_longer() -> None:
    """Twice as long each time, up to a second."""
    settling = Settling(0.1)
    seen = [settling.seconds(1.0)]
    for _ in range(5):
        settling.stray(1.0, 0.0)
        seen.append(settling.seconds(1.0))
    assert [0.1, 0.2, 0.4, 0.8, 1.0, 1.0] == seen


def test_it_is_as_it_was_after_a_minute() -> None:
    """Without another."""
    settling = Settling(0.1)
    settling.stray(1.0, 0.0)
    settling.stray(60.0, 0.5)
    assert 0.4 == settling.seconds(119.0)
    assert 0.1 == settling.seconds(121.0)


@pytest.mark.parametrize(
    ("seconds", "idle", "after"),
    [(0.1, 1.0, 0.1), (0.1, 30.0, 0.1), (0.0, 0.0, 0.0), (5.0, 0.0, 5.0)],
)
def test_some_strays_change_nothing(seconds: float, idle: float, after: float) -> None:
    """What comes after a long silence; and where the setting says not at all, or longer already."""
    settling = Settling(seconds)
    settling.stray(1.0, idle)
    assert after == settling.seconds(1.0)
