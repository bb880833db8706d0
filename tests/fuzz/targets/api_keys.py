"""API keys: only the whole secret of a key is accepted, nothing that looks like it."""

from __future__ import annotations

import asyncio
import tempfile
from functools import cache
from pathlib import Path

from gemini_backend.errors import Unauthenticated
from tests.fuzz.draws import Draws
from tests.support.identity.key_desk import KeyDesk


class _Keys:
    """Two keys that are accepted, and one that was revoked."""

    def __init__(self) -> None:
        self.runner = asyncio.Runner()
        self.folder = tempfile.TemporaryDirectory(prefix="fuzz-")
        self.runner.run(self._make())

    async def _make(self) -> None:
        self.desk = KeyDesk(Path(self.folder.name))
        self.good = {}
        await self.desk.keys.refresh()
        for name in ("ann", "bob"):
            _, secret = await self.desk.create(name)
            self.good[secret] = name
        made, self.revoked = await self.desk.create("carl")
        await self.desk.keys.revoke(made.key)

    async def verified(self, secret: str) -> str:
        self.desk.clock.stall(3600)  # the next look at the store is due
        return (await self.desk.keys.verify(secret)).name


@cache
def _keys() -> _Keys:
    return _Keys()


def check(data: bytes) -> None:
    """Present a secret, an edited secret, or anything else, both ways."""
    keys, draws = _keys(), Draws(data)
    secret = draws.one_of([*keys.good, keys.revoked, ""])
    text = draws.edited(secret) if draws.flag() else secret
    if draws.flag():
        text = draws.text(200)
    expected = keys.good.get(text)
    found = keys.desk.keys.known(text)
    assert expected == (None if found is None else found.name), repr(text)
    name, said = None, ""
    try:
        name = keys.runner.run(keys.verified(text))
    except Unauthenticated as error:
        said = error.message
    assert expected == name, repr(text)
    assert text not in said or len(text) < 8
