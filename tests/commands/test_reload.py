"""Reloads: who asks, what is taken, what is said of it."""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from gemini_backend.commands.file_watch import content_of
from gemini_backend.commands.reload import Reloader
from gemini_backend.config import ConfigStore, NotKept, read

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from gemini_backend.config import Change, Reloaded, Settings

WRONG, RIGHT = "[retry]\nmax_attempts = 0", "[retry]\nmax_attempts = 3"


class Server:
    """A store with a file, and a reloader for both."""

    def __init__(self, file: Path) -> None:
        """Start with an empty file."""
        self.file = file
        self.say("")
        sources = partial(read, file, {})
        self.store = ConfigStore(sources())
        self.reloader = Reloader(str(file), sources, self._take, taken=content_of(str(file)))
        self.full = False
        self.tried = 0
        self._tried = asyncio.Event()

    def say(self, text: str) -> None:
        """Write the file."""
        self.file.write_text(text)

    async def signalled(self) -> None:
        """Have it reloaded by a signal."""
        self.reloader.ask()
        await self._settled()

    async def watched(self) -> None:
        """Have it reloaded by the watch."""
        self.reloader.found_changed()
        await self._settled()

    async def _settled(self) -> None:
        await asyncio.sleep(0)
        while self.reloader.busy:
            await asyncio.sleep(0.001)

    async def _take(self, settings: Settings, change: Change) -> Reloaded:
        self.tried += 1
        if self.full:
            raise NotKept.at("the disk is full", "revisions.store")
        return await self.store.reload(settings, change)


@pytest.fixture
async def server(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> AsyncIterator[Server]:
    """Return a server that reloads when it is asked."""
    caplog.set_level(logging.INFO)
    server = Server(tmp_path / "backend.toml")
    running = asyncio.create_task(server.reloader.run())
    yield server
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


def lines(caplog: pytest.LogCaptureFixture) -> list[tuple[str, Any]]:
    """Return each line of the log with what matters of it."""
    told = [(one.message, one.__dict__) for one in caplog.records if "config" in one.message]
    names = ("changed", "settings", "reason")
    return [(word, next(facts[name] for name in names if name in facts)) for word, facts in told]


async def test_a_change_is_taken_once(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    """A watch that asks again finds nothing to do; a signal reloads whatever there is."""
    server.say(RIGHT)
    await server.watched()
    await server.watched()
    assert ("file", 3) == (
        server.store.revision.change.author,
        server.store.current.retry.max_attempts,
    )
    assert [("config_reloaded", ["retry.max_attempts"])] == lines(caplog)
    await server.signalled()
    assert ("config_reloaded", []) == lines(caplog)[-1]


async def test_a_signal_says_so_in_the_history(server: Server) -> None:
    """The author is `reload`, and the comment names the file."""
    server.say(RIGHT)
    await server.signalled()
    change = server.store.revision.change
    assert ("reload", f"SIGHUP: {server.file} was read again") == (change.author, change.comment)


async def test_a_wrong_file_is_said_once(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    """It is refused whole; the watch says it once, a signal each time; a right one is taken."""
    server.say(WRONG + "\n[logging]\nlevel = 'error'")
    await server.watched()
    await server.watched()
    assert 1 == len(lines(caplog))
    assert "retry.max_attempts is 0" in lines(caplog)[0][1]
    assert (1, "info") == (server.store.revision.number, server.store.current.logging.level)
    await server.signalled()
    assert 2 == len(lines(caplog))
    server.say(RIGHT)
    await server.watched()
    assert 3 == server.store.current.retry.max_attempts


async def test_a_full_disk_is_tried_again(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    """A good file that cannot be kept is asked for again, and said once."""
    server.say(RIGHT)
    server.full = True
    for _ in range(3):
        await server.watched()
    assert (3, [("config_not_reloaded", "the disk is full")]) == (server.tried, lines(caplog))
    server.full = False
    await server.watched()
    assert 3 == server.store.current.retry.max_attempts


async def test_what_has_no_effect_is_named(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    """Settings of a start, and those that an override hides, with what hides them."""
    await server.store.update({"retry.max_attempts": 5})
    server.say(RIGHT + "\n[server]\nmax_message_mb = 8")
    await server.watched()
    assert [
        ("config_reloaded", []),
        ("config_needs_restart", ["server.max_message_mb"]),
        ("config_hidden", {"retry.max_attempts": "the override of revision 2"}),
    ] == lines(caplog)


async def test_a_defect_does_not_end_reloading(
    server: Server, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What nobody expected is logged with its place, and the next reload works."""
    server.say(RIGHT)
    with monkeypatch.context() as patch:
        patch.setattr(server.store, "reload", None)
        await server.watched()
    assert [("config_not_reloaded", "unexpected")] == lines(caplog)
    await server.signalled()
    assert 3 == server.store.current.retry.max_attempts


async def test_without_a_file_there_is_nothing_to_reload(caplog: pytest.LogCaptureFixture) -> None:
    """A signal is answered in the log."""
    reloader = Reloader("", lambda: read(None, {}), ConfigStore(read(None, {})).reload)
    running = asyncio.create_task(reloader.run())
    reloader.ask()
    while not caplog.records:
        await asyncio.sleep(0)
    running.cancel()
    assert "--config" in lines(caplog)[0][1]
