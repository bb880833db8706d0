"""UpstreamKeyService, on a real store."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from gemini.backend.v1 import upstream_key_service_pb2 as pb
from gemini_backend.api.admin.upstream_keys import UpstreamKeyService
from gemini_backend.clock import SystemClock
from gemini_backend.config import Secret
from gemini_backend.config.sections.upstream import GeminiOptions
from gemini_backend.errors import AlreadyExists, Conflict, StoreUnavailable, UnknownResource
from gemini_backend.keyring import Keyring, LazyKeyring, MasterKeys
from gemini_backend.upstream.keys import KeySet, KeySource, KeySources, KeyStore, KnownKey
from tests.keyring.test_lazy import NEW, OLD, lazy
from tests.support.messages.calls import make_call

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.support.clock import FakeClock

KEY = "AIzaSyB3-service5Key0x7Of1This4Test2Only"


class Desk:
    """The service, with one key in the configuration."""

    def __init__(self, folder: Path, keyring: LazyKeyring, clock: FakeClock) -> None:
        self.folder = folder
        self.call = make_call(clock)
        self.keys = KeySet([KnownKey(Secret("configured"), KeySource.CONFIGURATION, "p")])
        self.store = KeyStore(keyring)
        options = GeminiOptions(api_keys_file=str(folder / "keys"))
        (folder / "keys").write_text("# none\n")
        (folder / "keys").chmod(0o600)
        self.sources = KeySources(options, self.keys, self.store, SystemClock())
        self.service = UpstreamKeyService(self.sources, keyring, lambda: 1234.5)

    async def ask(self, method: str, **fields: Any) -> Any:
        request = getattr(pb, f"{method}Request")(**fields)
        return await getattr(self.service, method)(self.call, request)

    async def listed(self) -> list[tuple[str, str, int]]:
        keys = (await self.ask("ListUpstreamKeys")).upstream_keys
        return [(one.name, one.display_name, one.source) for one in keys]


@pytest.fixture
async def desk(tmp_path: Path, clock: FakeClock) -> AsyncIterator[Desk]:
    """Return a desk."""
    made = Desk(tmp_path, lazy(tmp_path, OLD), clock)
    yield made
    made.sources.close()


async def test_a_key_is_stored_and_used_at_once(desk: Desk) -> None:
    """It is listed after those of other sources, and never told."""
    made = (
        await desk.ask("CreateUpstreamKey", key=KEY, project="q", display_name="new")
    ).upstream_key
    assert (desk.keys.keys[1].key_id, "q", 1234) == (
        made.name.removeprefix("upstreamKeys/"),
        made.project,
        made.create_time.seconds,
    )
    listed = await desk.listed()
    assert [pb.UPSTREAM_KEY_SOURCE_CONFIGURATION, pb.UPSTREAM_KEY_SOURCE_STORE] == [
        source for _, _, source in listed
    ]
    assert KEY[:8] not in f"{made} {listed}"
    with pytest.raises(AlreadyExists):
        await desk.ask("CreateUpstreamKey", key=KEY)


async def test_a_removed_key_is_no_longer_used(desk: Desk) -> None:
    """Once; another time there is none of that name."""
    made = (await desk.ask("CreateUpstreamKey", key=KEY)).upstream_key
    await desk.ask("DeleteUpstreamKey", name=made.name)
    assert 1 == len(desk.keys) == len(await desk.listed())
    with pytest.raises(UnknownResource):
        await desk.ask("DeleteUpstreamKey", name=made.name)


async def test_a_key_of_another_source_is_removed_there(desk: Desk) -> None:
    """The error says where; one that is stored as well is removed from the store alone."""
    await desk.ask("CreateUpstreamKey", key="configured")
    name = f"upstreamKeys/{desk.keys.keys[0].key_id}"
    await desk.ask("DeleteUpstreamKey", name=name)
    assert (0, 1) == (len(desk.store.read()), len(desk.keys))
    with pytest.raises(Conflict, match="GEMINI_API_KEY"):
        await desk.ask("DeleteUpstreamKey", name=name)


async def test_a_rotation_reads_everything_again(desk: Desk) -> None:
    """Master keys and file; the stored keys are encrypted anew, and stay."""
    await desk.ask("CreateUpstreamKey", key=KEY)
    (desk.folder / "given").write_text(f"{NEW.hex()}\n{OLD.hex()}")
    (desk.folder / "keys").write_text("in-the-file\n")
    done = await desk.ask("RotateUpstreamKeyEncryption")
    assert 1 == done.reencrypted_count
    assert ["configured", "in-the-file", KEY] == [one.text.reveal() for one in desk.keys.known]
    keyring = Keyring.open(desk.folder / "state", MasterKeys([NEW]))
    assert ["upstream-keys.2"] == keyring.stored()


async def test_a_store_that_cannot_be_used_is_an_error(desk: Desk) -> None:
    """Of each method; keys stay in use."""
    made = (await desk.ask("CreateUpstreamKey", key=KEY)).upstream_key
    (desk.folder / "state" / "upstream_keys.json").write_text("{")
    for method, fields in (
        ("ListUpstreamKeys", {}),
        ("CreateUpstreamKey", {"key": "another-key"}),
        ("DeleteUpstreamKey", {"name": made.name}),
        ("RotateUpstreamKeyEncryption", {}),
    ):
        with pytest.raises(StoreUnavailable, match="restore"):
            await desk.ask(method, **fields)
    assert 2 == len(desk.keys)
