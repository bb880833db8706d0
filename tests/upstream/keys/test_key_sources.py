"""The sources of keys, read at the start and whenever they may have changed."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING

import pytest

from gemini_backend.clock import SystemClock
from gemini_backend.config import ConfigError, Secret
from gemini_backend.config.sections.auth import SecretsOptions
from gemini_backend.config.sections.upstream import GeminiOptions
from gemini_backend.errors import StoreUnavailable
from gemini_backend.keyring import LazyKeyring
from gemini_backend.telemetry.events import Bus, KeySourceFailed, UpstreamKeysChanged
from gemini_backend.telemetry.health.health_rules import HealthState
from gemini_backend.upstream.keys import KeySet, KeySource, KeySources, KeyStore, KnownKey
from gemini_backend.upstream.keys.key_sources import LOOK_SECONDS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from gemini_backend.clock import Clock
    from gemini_backend.telemetry.events.event import Event
    from tests.support.clock import FakeClock


class Impatient(SystemClock):
    """A clock that does not sleep, and counts how often it was asked to."""

    def __init__(self) -> None:
        super().__init__()
        self.slept = 0
        self.meanwhile: Callable[[], object] = lambda: None

    async def sleep(self, _seconds: float) -> None:
        self.slept += 1
        self.meanwhile()


class Desk:
    """A file, a command that prints another file, a store, and what is published of them."""

    def __init__(self, folder: Path, clock: Clock | None = None, **options: object) -> None:
        self.folder = folder
        self.file, self.printed = folder / "keys", folder / "printed"
        self.events: list[Event] = []
        bus = Bus()
        for kind in (UpstreamKeysChanged, KeySourceFailed):
            bus.subscribe(kind, self.events.append)
        self.store = KeyStore(LazyKeyring(str(folder / "state"), SecretsOptions()))
        self.clock = Impatient()
        self.keys = KeySet()
        settings = GeminiOptions(**options)  # type: ignore[arg-type]
        self.sources = KeySources(settings, self.keys, self.store, clock or self.clock, bus)

    def write(self, text: str) -> None:
        self.file.write_text(text)
        self.file.chmod(0o600)

    def texts(self) -> list[str]:
        return [one.text.reveal() for one in self.keys.known]


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    """Return a desk with all sources."""
    code = "import sys; print(open(sys.argv[1]).read())"
    command = (sys.executable, "-c", code, str(tmp_path / "printed"))
    made = Desk(tmp_path, api_keys_file=str(tmp_path / "keys"), api_keys_command=command)
    made.write("file-1\n")
    made.printed.write_text("command-1\n")
    made.store.add(Secret("store-1"), "", "", 1.0)
    yield made
    made.sources.close()


async def test_all_sources_together(desk: Desk) -> None:
    """Each is told of with the ids that it has brought."""
    await desk.sources.load()
    assert ["file-1", "command-1", "store-1"] == desk.texts()
    changed = [one for one in desk.events if isinstance(one, UpstreamKeysChanged)]
    assert [("file", 1), ("store", 1), ("command", 1)] == [
        (one.source, len(one.added)) for one in changed
    ]
    assert HealthState.HEALTHY is desk.sources.component().state


async def test_what_has_changed_is_read_again(desk: Desk) -> None:
    """Every source; what has not changed is not told of."""
    await desk.sources.load()
    desk.write("file-1\nfile-2\n")
    desk.printed.write_text("command-2\n")
    desk.store.add(Secret("store-2"), "", "", 1.0)
    desk.events.clear()
    await desk.sources.refresh()
    assert ["file-1", "file-2", "command-2", "store-1", "store-2"] == desk.texts()
    assert 3 == len(desk.events)
    await desk.sources.refresh()
    assert 3 == len(desk.events)


async def test_half_of_a_file_is_no_key(desk: Desk) -> None:
    """A file that changes is read again until it is the same twice."""
    await desk.sources.load()
    desk.write("fil")
    whole = iter(["file-1\nfi", "file-1\nfile-2\n"])
    desk.clock.meanwhile = lambda: desk.write(next(whole, "file-1\nfile-2\n"))
    await desk.sources.refresh()
    assert ["file-1", "file-2"] == desk.texts()[:2]
    assert 3 == desk.clock.slept
    assert [] == [one for one in desk.events if isinstance(one, KeySourceFailed)]


async def test_what_cannot_be_read_keeps_its_keys(desk: Desk) -> None:
    """Health and an event say so, once, and metrics count it; mended, it is read again."""
    await desk.sources.load()
    desk.events.clear()
    desk.write("")
    desk.printed.write_text("s3cret and s3cret and more\n")
    (desk.folder / "state" / "upstream_keys.json").write_text("{")
    for _ in range(2):
        await desk.sources.refresh()
    assert ["file-1", "command-1", "store-1"] == desk.texts()
    failed = [one for one in desk.events if isinstance(one, KeySourceFailed)]
    assert ["file", "store", "command"] == [one.source for one in failed]
    component = desk.sources.component()
    assert HealthState.DEGRADED is component.state
    told = f"{component} {failed} {desk.sources.problems}"
    assert ([True] * 3, False) == (
        [name in told for name in ("api_keys_file", "api_keys_command", "upstream_keys.json")],
        "s3cret" in told,
    )
    (family,) = desk.sources.families()
    assert {("file",): 2, ("store",): 2, ("command",): 2} == family.values
    desk.write("file-2\n")
    desk.printed.write_text("# none\n")
    (desk.folder / "state" / "upstream_keys.json").unlink()
    await desk.sources.refresh()
    assert ["file-2"] == desk.texts()
    assert HealthState.HEALTHY is desk.sources.component().state


async def test_a_start_without_any_key_is_refused(tmp_path: Path) -> None:
    """If a source is why; the error names its setting. With another key the server starts."""
    desk = Desk(tmp_path, api_keys_file=str(tmp_path / "none"))
    with pytest.raises(ConfigError, match=r"upstream\.gemini\.api_keys_file does not exist"):
        await desk.sources.load()
    desk.store.add(Secret("store-1"), "", "", 1.0)
    await desk.sources.load()
    assert ["store-1"] == desk.texts()
    assert HealthState.DEGRADED is desk.sources.component().state
    desk.sources.close()


async def test_without_sources_there_is_nothing_to_read(tmp_path: Path) -> None:
    """A server with configured keys alone makes no file."""
    desk = Desk(tmp_path)
    desk.keys.put(
        KeySource.CONFIGURATION, [KnownKey(Secret("configured"), KeySource.CONFIGURATION)]
    )
    await desk.sources.load()
    assert (["configured"], []) == (desk.texts(), desk.events)
    assert not (tmp_path / "state").exists()
    desk.sources.close()


async def test_the_store_is_changed_in_its_turn(desk: Desk) -> None:
    """And what it has then is in use at once; a failure is the caller's."""
    await desk.sources.load()
    made = await desk.sources.with_store(lambda: desk.store.add(Secret("store-2"), "", "", 1.0))
    assert "store-2" == made.text.reveal() == desk.texts()[-1]
    (desk.folder / "state" / "upstream_keys.json").write_text("{")
    with pytest.raises(StoreUnavailable):
        await desk.sources.with_store(desk.store.read)


async def test_changes_are_followed(tmp_path: Path, clock: FakeClock) -> None:
    """Within five seconds, until it is cancelled."""
    desk = Desk(tmp_path, clock, api_keys_file=str(tmp_path / "keys"))
    desk.write("file-1\n")
    await desk.sources.load()
    following = asyncio.create_task(desk.sources.run())
    desk.write("file-2\n")
    for _ in range(2000):
        if desk.texts() == ["file-2"]:
            break
        await clock.advance(LOOK_SECONDS / 20)
        await asyncio.sleep(0.001)
    assert ["file-2"] == desk.texts()
    following.cancel()
    await asyncio.gather(following, return_exceptions=True)
    desk.sources.close()
