"""Keys of every source, against the real server: used, changed while it runs, told to nobody."""

from __future__ import annotations

import asyncio
import signal
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import pytest

from gemini.backend.v1 import config_service_pb2 as config
from gemini.backend.v1 import execute_service_pb2_grpc as rpc
from gemini.backend.v1 import health_service_pb2 as health
from gemini.backend.v1 import upstream_key_service_pb2 as pb
from gemini_backend.keyring import MasterKeys
from gemini_backend_client import AsyncClient, GeminiBackendError
from tests.e2e.upstreams.test_echoed_key import echo, told_to_callers, told_to_operators
from tests.e2e.upstreams.test_keys import NOT_VALID, Api
from tests.support.servers.http_api import served
from tests.support.servers.process import AS_IT_COMES, run_backend, serving
from tests.support.upstreams.raw_upstreams import listening

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.support.servers.process import Process

GEMINI = "GEMINI_BACKEND_UPSTREAM__GEMINI__"
# as in test_echoed_key, whose upstream echoes this one in its lists of models
KEY = "AIzaSyB3-echoed9Key0x7Of1This4Test2Only6"
OLD, NEW = bytes(range(100, 132)).hex(), bytes(range(50, 82)).hex()


@dataclass
class Place:
    """A folder with what the server is given, and the environment that names it."""

    folder: Path
    env: dict[str, str] = field(default_factory=dict)

    def secret(self, name: str, text: str) -> Path:
        file = self.folder / name
        draft = self.folder / f"{name}.new"
        draft.write_text(text)
        draft.chmod(0o600)
        return draft.rename(file)

    def source(self, kind: str, *keys: str) -> None:
        """Have these keys come from a source."""
        text = "\n".join(keys) + "\n"
        if kind == "configuration":
            self.env[f"{GEMINI}API_KEYS"] = ",".join(keys)
        elif kind == "file":
            self.env[f"{GEMINI}API_KEYS_FILE"] = str(self.secret("keys", text))
        elif kind == "command":
            command = ("/bin/cat", str(self.secret("printed", text)))
            self.env[f"{GEMINI}API_KEYS_COMMAND"] = ",".join(command)
            self.env[f"{GEMINI}API_KEYS_REFRESH_SECONDS"] = "1"


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """Return a folder of this test's own."""
    return Place(tmp_path, {"GEMINI_BACKEND_STATE__DIR": str(tmp_path / "state")})


@asynccontextmanager
async def backend(place: Place, **settings: str) -> AsyncIterator[tuple[Api, Process]]:
    """Run a server in front of an API that knows each key."""
    api = Api()
    async with served(api.answer) as url:
        env = {f"{GEMINI}BASE_URL": url, **AS_IT_COMES, **place.env, **settings}
        async with serving(env) as server:
            yield api, server


async def store(client: AsyncClient, key: str, **fields: Any) -> pb.UpstreamKey:
    """Store a key through the server."""
    request = pb.CreateUpstreamKeyRequest(key=key, **fields)
    made = await client.call(client.stubs.upstream_keys.CreateUpstreamKey, request)
    return made.upstream_key


async def until_asked(api: Api, client: AsyncClient, key: str) -> None:
    """Call until a key is used; at most 60 s."""
    async with asyncio.timeout(60):
        while key not in api.asked:
            await client.process(f"hi {len(api.asked)}")
            await asyncio.sleep(0.05)


@pytest.mark.parametrize("kind", ["configuration", "file", "command", "store"])
async def test_a_key_of_no_source_is_told(place: Place, kind: str) -> None:
    """Callers, operators, logs, spans, metrics, `ps`, doctor: none of them has it, or a piece."""
    place.source(kind, KEY)
    async with listening(echo) as url:
        env = {**AS_IT_COMES, "OTEL_TRACES_EXPORTER": "console", **place.env}
        env |= {f"{GEMINI}BASE_URL": url}
        async with serving(env) as server:
            async with AsyncClient(server.grpc, retry=None) as client:
                if kind == "store":
                    await store(client, KEY, display_name="echoed")
                listed = await client.call(
                    client.stubs.upstream_keys.ListUpstreamKeys, pb.ListUpstreamKeysRequest()
                )
            async with grpc.aio.insecure_channel(server.grpc) as channel:
                stub = rpc.ExecuteServiceStub(channel)
                told = [
                    text
                    for model in ("good-plain", "refused-plain", "failed-base64", "blocked-plain")
                    async for text in told_to_callers(stub, model)
                ]
                told += [text async for text in told_to_operators(server, channel)]
            told += [str(listed), _shown_by_the_system(server.process.pid)]
            doctor = await run_backend("doctor", env=env)
            shown = await run_backend("config", env=env)
            await server.stop()
    assert 1 == len(listed.upstream_keys)
    told += [server.log(), doctor.stdout, doctor.stderr, shown.stdout, shown.stderr]
    told += [file.read_text() for file in (place.folder / "state").glob("*.json*")]
    assert f"1 of {kind}" in doctor.stdout
    for text in told:
        assert [] == [one for one in (KEY, KEY[:12], KEY[-12:]) if one.lower() in text.lower()]


def _shown_by_the_system(pid: int) -> str:
    """Return what every user of the machine sees of a process."""
    found = [Path(f"/proc/{pid}/{name}").read_text() for name in ("cmdline", "comm", "status")]
    return " ".join(found)


async def test_keys_of_all_sources_are_used(place: Place) -> None:
    """Each in its turn; a key of two sources is one key."""
    place.source("configuration", "key-conf-1")
    place.source("file", "key-file-1", "key-conf-1")
    place.source("command", "team-a key-cmd-01")
    async with backend(place) as (api, server):
        async with AsyncClient(server.grpc, retry=None) as client:
            await store(client, "key-store-1")
            for number in range(8):
                await client.process(f"hi {number}")
            status = await client.call(
                client.stubs.health.GetBackendStatus, health.GetBackendStatusRequest()
            )
        keys = ("key-conf-1", "key-file-1", "key-cmd-01", "key-store-1")
        assert dict.fromkeys(keys, 2) == {key: api.asked.count(key) for key in keys}
        assert 4 == status.upstream.key_count


async def test_a_swapped_mount_is_taken_up(place: Place) -> None:
    """A folder of secrets that is replaced by its link, as Kubernetes does; no call fails."""
    for name in ("one", "two"):
        (place.folder / name).mkdir()
        place.secret(f"{name}/keys", f"key-of-{name}\n")
    (place.folder / "..data").symlink_to("one")
    (place.folder / "keys").symlink_to("..data/keys")
    place.env[f"{GEMINI}API_KEYS_FILE"] = str(place.folder / "keys")
    async with backend(place) as (api, server):
        async with AsyncClient(server.grpc, retry=None) as client:
            await client.process("hi")
            (place.folder / "new").symlink_to("two")
            (place.folder / "new").rename(place.folder / "..data")
            await until_asked(api, client, "key-of-two")
            before = len(api.asked)
            for number in range(4):
                await client.process(f"hello {number}")
        assert ["key-of-two"] * 4 == api.asked[before:]
        assert '"event":"upstream_keys"' in server.log().replace(" ", "")


async def test_a_command_that_fails_later_keeps_its_keys(place: Place) -> None:
    """Health and the log say so, without what it printed."""
    place.source("command", "key-cmd-01")
    async with backend(place) as (_, server):
        async with AsyncClient(server.grpc, retry=None) as client:
            place.secret("printed", "s3cret is not a key\n")
            async with asyncio.timeout(60):
                while "upstream_key_source" not in server.log():
                    await asyncio.sleep(0.05)
            await client.process("hi")
            status = await client.health_status()
        (part,) = [one for one in status.components if one.name == "upstream_keys"]
        assert "api_keys_command" in part.message
        assert "s3cret" not in f"{status}{server.log()}"


async def test_a_refused_key_of_the_store_is_set_aside_and_told(place: Place) -> None:
    """By its id: in the log, in health, in metrics. It is asked once."""
    place.source("file", "key-file-1")
    async with backend(place) as (api, server):
        api.errors["key-store-dead"] = [NOT_VALID]
        async with AsyncClient(server.grpc, retry=None) as client:
            made = await store(client, "key-store-dead")
            for number in range(6):
                await client.process(f"hi {number}")
            status = await client.health_status()
        key_id = made.name.removeprefix("upstreamKeys/")
        (key,) = [one for one in status.upstream_keys if one.key_id == key_id]
        assert (1, health.UPSTREAM_KEY_STATE_INVALID) == (
            api.asked.count("key-store-dead"),
            key.state,
        )
        await _until(lambda: key_id in server.log(), "the key's id is in the log")
        assert "key-store-dead" not in f"{server.log()}{status}"


async def test_a_removed_key_is_not_used_again(place: Place) -> None:
    """Without any key a call fails, and the message has the fixes."""
    place.env[f"{GEMINI}MAX_CONNECTIONS"] = "10"
    async with backend(place) as (api, server):
        async with AsyncClient(server.grpc, retry=None) as client:
            made = await store(client, "key-store-1")
            await client.process("hi")
            request = pb.DeleteUpstreamKeyRequest(name=made.name)
            await client.call(client.stubs.upstream_keys.DeleteUpstreamKey, request)
            with pytest.raises(GeminiBackendError, match="upstream-keys add") as failed:
                await client.process("hi again")
        assert "BACKEND_NO_UPSTREAM_KEY" == failed.value.details.reason
        assert ["key-store-1"] == api.asked


async def test_the_command_works_beside_and_through_the_server(place: Place) -> None:
    """What it stores on this machine is used within seconds; what it removes, no longer."""
    env = place.env
    file = str(place.secret("new", "key-store-1\n"))
    place.source("configuration", "key-conf-1")
    async with backend(place) as (api, server):
        through = ("--target", server.grpc)
        added = await run_backend("upstream-keys", "add", "--file", file, env=env)
        assert 0 == added.code, added.stderr
        async with AsyncClient(server.grpc, retry=None) as client:
            await until_asked(api, client, "key-store-1")
        listed = await run_backend("upstream-keys", "list", *through, env=env)
        key_id = added.stdout.split()[1].removeprefix("upstreamKeys/")
        assert [key_id, "store"] == [listed.stdout.splitlines()[2].split()[at] for at in (0, 2)]
        changed = await run_backend("upstream-keys", "rotate-encryption", *through, env=env)
        assert "encrypted again: 1\n" == changed.stdout, changed.stderr
        removed = await run_backend("upstream-keys", "remove", key_id, *through, env=env)
        assert 0 == removed.code, removed.stderr
        before = len(api.asked)
        async with AsyncClient(server.grpc, retry=None) as client:
            for number in range(4):
                await client.process(f"after {number}")
        assert {"key-conf-1"} == set(api.asked[before:])


async def test_master_and_data_keys_are_changed_without_a_failed_call(place: Place) -> None:
    """Old, new with old, new alone; by SIGHUP and by the service, under calls all the time."""
    masters = place.secret("masters", OLD)
    place.env["GEMINI_BACKEND_SECRETS__MASTER_KEY_FILE"] = str(masters)
    place.source("file", "# none")
    rotate = pb.RotateUpstreamKeyEncryptionRequest()
    async with backend(place) as (_, server):
        async with AsyncClient(server.grpc, retry=None) as client:
            await store(client, "key-store-1")
            stop = asyncio.Event()
            calling = asyncio.create_task(_calls(client, stop))
            place.secret("masters", f"{NEW}\n{OLD}\n")
            server.send(signal.SIGHUP)
            await _until(lambda: OLD_ID not in _keyring(place), "the keyring is under the new one")
            place.secret("masters", f"{NEW}\n")
            method = client.stubs.upstream_keys.RotateUpstreamKeyEncryption
            for _ in range(5):
                assert 1 == (await client.call(method, rotate)).reencrypted_count
            stop.set()
            calls = await calling
        log = server.log()
    assert calls > 10
    assert [] == [name for name in (OLD, NEW, "key-store-1") if name in log]
    async with (
        backend(place) as (api, server),
        AsyncClient(server.grpc, retry=None) as client,
    ):
        await client.process("hi")
    assert ["key-store-1"] == api.asked


async def test_a_server_that_lacks_its_master_key_says_so(place: Place) -> None:
    """It does not start without a key, and changes nothing."""
    place.env["GEMINI_BACKEND_SECRETS__MASTER_KEY"] = OLD
    place.env["GEMINI_BACKEND_UPSTREAM__PROVIDER"] = "simulator"
    async with serving(place.env) as server, AsyncClient(server.grpc, retry=None) as client:
        await store(client, "key-store-1")
    before = _keyring(place)
    place.env["GEMINI_BACKEND_UPSTREAM__PROVIDER"] = "gemini"
    env = {**place.env, "GEMINI_BACKEND_SECRETS__MASTER_KEY": NEW}
    failed = await run_backend("serve", "--listen", "127.0.0.1:0", env=env)
    assert 2 == failed.code
    assert "secrets.master_key" in failed.stderr
    assert "Traceback" not in failed.stderr
    assert [] == [text for text in (OLD, NEW, "key-store-1") if text in failed.stderr]
    assert before == _keyring(place)


async def test_configuration_shows_no_secret(place: Place) -> None:
    """GetConfig has masks in their places."""
    place.env["GEMINI_BACKEND_SECRETS__MASTER_KEY"] = OLD
    async with serving(place.env) as server, AsyncClient(server.grpc, retry=None) as client:
        shown = await client.call(client.stubs.config.GetConfig, config.GetConfigRequest())
    assert ["********"] == list(shown.config.secrets.master_key)
    assert OLD not in str(shown)


OLD_ID = MasterKeys([bytes.fromhex(OLD)]).current


def _keyring(place: Place) -> str:
    return (place.folder / "state" / "keyring.json").read_text()


async def _calls(client: AsyncClient, stop: asyncio.Event) -> int:
    """Call again and again; return how often."""
    made = 0
    while not stop.is_set():
        await client.process(f"call {made}")
        made += 1
    return made


async def _until(true: Any, what: str) -> None:
    try:
        async with asyncio.timeout(60):
            while not true():
                await asyncio.sleep(0.02)
    except TimeoutError:
        pytest.fail(f"not within 60 s: {what}")


WRONG = (
    {"key": "key-store-1\r\nX-Evil: 1"},
    {"key": "key store 1"},
    {"key": "short"},
    {"key": "k" * 4097},
    {"key": "key-store-1", "project": "p\n{}"},
    {"key": "key-store-1", "project": "../p"},
    {"key": "key-störe-1"},
)


async def test_what_is_no_key_is_refused_and_not_quoted(place: Place) -> None:
    """No header can be added by a key, no line of the log by a project."""
    place.env["GEMINI_BACKEND_UPSTREAM__PROVIDER"] = "simulator"
    told = ""
    async with serving(place.env) as server:
        async with AsyncClient(server.grpc, retry=None) as client:
            for fields in WRONG:
                with pytest.raises(GeminiBackendError) as failed:
                    await store(client, **fields)
                assert "CALLER_INVALID_REQUEST" == failed.value.details.reason
                told += f"{failed.value}{failed.value.details}"
        told += server.log()
    assert not (place.folder / "state" / "upstream_keys.json").exists()
    assert "key-st" not in told
