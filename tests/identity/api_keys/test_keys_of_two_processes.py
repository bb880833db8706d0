"""Whatever two processes do to keys, each accepts what it should."""

from __future__ import annotations

import asyncio
import tempfile
from dataclasses import dataclass
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from gemini_backend.errors import Conflict
from tests.support.clock import FakeClock
from tests.support.identity.key_desk import KeyDesk

_STEP = st.one_of(
    st.tuples(st.just("create"), st.integers(0, 1), st.sampled_from([0, 5, 20])),
    st.tuples(st.just("rotate"), st.integers(0, 9), st.sampled_from([0, 3, 10])),
    st.tuples(st.just("revoke"), st.integers(0, 9), st.just(0)),
    st.tuples(st.just("later"), st.just(0), st.integers(1, 6)),
)


@dataclass
class Expected:
    """A secret, and until when it is accepted."""

    key: str
    secret: str
    until: float
    current: bool = True


class Model:
    """What two processes do, and what is expected of each secret that there ever was."""

    def __init__(self, folder: Path) -> None:
        self.clock = FakeClock()
        self.desks = [KeyDesk(folder, self.clock) for _ in range(2)]
        self.secrets: list[Expected] = []

    async def create(self, who: int, ttl: int) -> None:
        now = self.desks[0].wall()
        record, secret = await self.desks[who].create(expires=now + ttl if ttl else None)
        self.secrets.append(Expected(record.key, secret, now + ttl if ttl else float("inf")))

    async def rotate(self, number: int, overlap: int) -> None:
        last = self._chosen(number)
        if last is None:
            return
        now = self.desks[0].wall()
        try:
            made = await self.desks[number % 2].keys.rotate(last.key, overlap)
        except Conflict:
            assert last.until <= now
            return
        assert made is not None
        for older in self.secrets:
            if older.key == last.key and not older.current:
                older.until = min(older.until, now)
        self.secrets.append(Expected(last.key, made[1], last.until))
        last.current, last.until = False, min(last.until, now + overlap)

    async def revoke(self, number: int, _extra: int) -> None:
        last = self._chosen(number)
        if last is not None:
            await self.desks[number % 2].keys.revoke(last.key)
            for one in self.secrets:
                if one.key == last.key:
                    one.until = min(one.until, self.desks[0].wall())

    async def later(self, _number: int, seconds: int) -> None:
        await self.clock.advance(seconds)

    def _chosen(self, number: int) -> Expected | None:
        current = [one for one in self.secrets if one.current]
        return current[number % len(current)] if current else None

    async def wrong(self) -> list[Expected]:
        """Let both processes look, and return the secrets that one of them takes wrongly."""
        now = self.desks[0].wall()
        for desk in self.desks:
            await desk.keys.refresh()
        return [
            one
            for one in self.secrets
            for desk in self.desks
            if bool(desk.keys.known(one.secret)) is not (now < one.until)
        ]


@settings(max_examples=25)
@given(st.lists(_STEP, max_size=14))
def test_each_process_accepts_what_it_should(steps: list[tuple[str, int, int]]) -> None:
    """Keys made, rotated and revoked in any order, by either: both agree at any time."""

    async def work(folder: Path) -> list[Expected]:
        model, wrong = Model(folder), []
        for step, number, extra in steps:
            await getattr(model, step)(number, extra)
            wrong += await model.wrong()
        for desk in model.desks:
            await desk.aclose()
        return wrong

    with tempfile.TemporaryDirectory() as folder:
        assert [] == asyncio.run(work(Path(folder)))
