"""Which signals are taken over."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Any

from gemini_backend import signals

if TYPE_CHECKING:
    import pytest


def test_a_signal_that_is_kept_for_others_does_not_end_the_start(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Debuggers do not give away all of them; the others are taken over."""
    taken = []

    def take(number: int, _handle: Any) -> None:
        if number == signal.SIGRTMAX:
            raise OSError(22, "Invalid argument")
        taken.append(number)

    monkeypatch.setattr(signals.signal, "signal", take)
    signals.ignore_until_ready()
    assert [signal.SIGINT, *(one for one in signals.OTHERS if one != signal.SIGRTMAX)] == taken
