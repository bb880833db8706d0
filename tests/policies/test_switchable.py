"""Layers that their options switch off."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gemini_backend.policies.switchable import Switchable
from gemini_backend.policies.wrapper import Around
from tests.support.layers.alone import Alone
from tests.support.layers.inproc import collect
from tests.support.messages.calls import make_call

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.support.clock import FakeClock


@dataclass
class Options:
    """Options of a layer that puts a word before what is asked."""

    enabled: bool
    word: str = "on"


class Wordy(Switchable[Options], Around):
    """Puts its word before every request."""

    def run(self, call: Any, request: Any, proceed: Any, /) -> Any:
        return proceed(call, f"{self._options().word} {request}")

    def _shown(self, options: Options) -> str:
        return f"word={options.word}"


async def answer(_call: Any, request: Any) -> Any:
    return request


async def twice(_call: Any, request: Any) -> AsyncIterator[Any]:
    yield request
    yield request


async def test_what_is_off_adds_nothing(clock: FakeClock) -> None:
    """A call that begins while the layer is off is that of the rest, for both kinds of answer."""
    options = Options(enabled=False)
    layer, call = Alone(Wordy(lambda: options)), make_call(clock)
    assert "x" == await layer.unary(call, "x", answer)
    assert ["x", "x"] == await collect(layer.stream(call, "x", twice))
    options.enabled = True
    assert "on x" == await layer.unary(call, "x", answer)
    assert ["on x", "on x"] == await collect(layer.stream(call, "x", twice))


async def test_what_has_begun_goes_on(clock: FakeClock) -> None:
    """A call that began while the layer was on is not changed by its end."""
    options = Options(enabled=True)
    events = Alone(Wordy(lambda: options)).stream(make_call(clock), "x", twice)
    assert "on x" == await anext(events)
    options.enabled = False
    assert ["on x"] == await collect(events)


def test_it_says_whether_it_is_on() -> None:
    """By the options that tell most of it, or by being off."""
    options = Options(enabled=True)
    layer = Wordy(lambda: options)
    assert "Wordy(word=on)" == repr(layer)
    options.enabled = False
    assert "Wordy(off)" == repr(layer)
