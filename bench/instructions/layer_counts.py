"""Counts what the parts of a call take: `python -m bench.instructions.layer_counts UPSTREAM LIB`.

Runs under callgrind, with the sources of the tree that is counted first in the path. Each count is
a file of callgrind's, whose trigger names the part, the kind of call and the number of calls.
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
import sys
from dataclasses import dataclass
from functools import partial
from itertools import count
from operator import ne
from typing import TYPE_CHECKING

import uvloop

from bench.instructions.assembled import EDGE, assembled
from bench.instructions.parts import BARE, EDGE_ONLY, LONG, REAL, SHORT, TRANSLATED, WHOLE, without
from bench.programs import ask_backend

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from bench.instructions.door import Door

    Ask = Callable[[str, bytes, int], Awaitable[int]]

NUMBER = b"0000000000"  # in the prompt: replaced, so that no two requests are the same
_numbers = count(1)


@dataclass(frozen=True)
class Kind:
    """A kind of call.

    Attributes:
        name: as the counts name it.
        model: tells the upstream what to do; `{}` stands for the milliseconds between two events.
        events: of the answer.
        calls: in a sample.
        warm_up: calls that are not counted.
    """

    name: str
    model: str
    events: int
    calls: int
    warm_up: int


KINDS = (
    Kind(WHOLE, "bench-unary", 1, calls=6, warm_up=2),
    Kind(f"{SHORT} events", f"bench-paced-{{}}x{SHORT}", SHORT, calls=2, warm_up=1),
    Kind(f"{LONG} events", f"bench-paced-{{}}x{LONG}", LONG, calls=1, warm_up=0),
)
SAMPLES = 3
# Events come later than an event takes under callgrind, so that each is read on its own; where the
# machine is too busy for that, later still.
FIRST_PACE_MS, LAST_PACE_MS = 60, 2000
WARM_UP = 40


def main(upstream: str, library: str) -> None:
    """Counts everything."""
    gc.disable()
    uvloop.run(_count(upstream, ctypes.CDLL(library)))


async def _count(upstream: str, callgrind: ctypes.CDLL) -> None:
    counting = Counting(callgrind)
    begun = False
    async for name, ask in _parts(upstream):
        if not begun:
            for kind in KINDS[:2]:
                await counting.ask(ask, kind, WARM_UP)
            callgrind.count_from_now()
            begun = True
        for kind in KINDS:
            await counting.count(name, ask, kind)


async def _parts(upstream: str) -> AsyncIterator[tuple[str, Ask]]:
    """Yield what is counted: its name, and what makes a call of it."""
    scripted = await assembled(scripted=True)
    yield WHOLE, _by(scripted.door())
    yield EDGE_ONLY, _by(scripted.door(lambda name: name in EDGE))
    yield BARE, _by(scripted.bare())
    for layer in scripted.layers:
        yield without(layer), _by(scripted.door(partial(ne, layer)))
    yield REAL, _by((await assembled(scripted=False)).door())
    if (translation := _translation(upstream)) is not None:
        yield TRANSLATED, translation


def _translation(upstream: str) -> Ask | None:
    """Return what only translates; None in a tree in which that is called otherwise."""
    try:
        from bench.instructions.translation import Translation  # noqa: PLC0415 - differs by tree

        translation = Translation(upstream, (SHORT, LONG))
        translation.whole(b"")
        translation.stream(b"", SHORT)
    except (ImportError, TypeError, AttributeError) as error:
        sys.stderr.write(f"the translation is not counted: {error!r}\n")
        return None

    async def ask(_path: str, body: bytes, events: int) -> int:
        return translation.whole(body) if events == 1 else translation.stream(body, events)

    return ask


def _by(door: Door) -> Ask:
    async def ask(path: str, body: bytes, _events: int) -> int:
        return await door.call(path, body)

    return ask


class Counting:
    """Takes samples, and slows the upstream down where its events are read together."""

    def __init__(self, callgrind: ctypes.CDLL) -> None:
        """Count by callgrind."""
        self._callgrind = callgrind
        self._pace_ms = FIRST_PACE_MS

    async def count(self, name: str, ask: Ask, kind: Kind) -> None:
        """Count samples of a kind of call.

        Raises:
            SystemExit: the machine is too busy even for the slowest upstream.
        """
        await self.ask(ask, kind, kind.warm_up)
        taken = 0
        while taken < SAMPLES:
            self._callgrind.count_zero()
            if await self.ask(ask, kind, kind.calls) >= kind.calls * kind.events:
                self._callgrind.count_dump(f"{name}|{kind.name}|{kind.calls}".encode())
                taken += 1
            elif self._pace_ms < LAST_PACE_MS:
                self._pace_ms *= 2
            else:
                raise SystemExit(f"{name}, {kind.name}: the machine is too busy; retry later")

    async def ask(self, ask: Ask, kind: Kind, calls: int) -> int:
        """Make calls one after the other; returns the number of messages."""
        request = ask_backend("", kind.model.format(self._pace_ms), kind.events)
        messages = 0
        for _ in range(calls):
            body = request.body.replace(NUMBER, b"%010d" % next(_numbers))
            messages += await ask(request.path, body, kind.events)
            await asyncio.sleep(0)
        return messages


if __name__ == "__main__":
    main(*sys.argv[1:])
