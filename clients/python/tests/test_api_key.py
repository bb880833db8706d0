"""The caller's API key: where it comes from, and where it is never sent."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

import grpc
import pytest

from clients.python.tests.fake_backend import PATIENCE, Failure
from gemini_backend_client import (
    KEY_VARIABLE,
    PLAIN_TEXT,
    AsyncClient,
    Client,
    ForbiddenError,
    Tls,
    UnauthenticatedError,
)
from gemini_backend_client.commands import call, health, models

if TYPE_CHECKING:
    from types import ModuleType

    from clients.python.tests.fake_backend import FakeBackend

SECRET = "gbk_abcdefghijkl_" + "x" * 43


def sent(client: Client) -> dict[str, str | bytes]:
    """Return the metadata of each call."""
    return dict(client._link.settings.metadata_pairs())


async def test_the_key_goes_out_with_every_call(backend: FakeBackend) -> None:
    """Whole answers and streams of both clients, in `authorization`."""
    with Client(backend.target, api_key=SECRET, timeout=PATIENCE) as client:
        client.process("hi")
        client.execute("hi").text()
    async with AsyncClient(backend.target, api_key=SECRET, timeout=PATIENCE) as async_client:
        await async_client.process("hi")
        await async_client.execute("hi").text()
    expected = [f"Bearer {SECRET}"] * 4
    assert expected == [one["authorization"] for one in backend.metadata]


def test_the_environment_s_key_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    """A key that is given outranks it, an empty one means none, and so do own credentials."""
    monkeypatch.setenv(KEY_VARIABLE, f" {SECRET}\n")
    assert {"authorization": f"Bearer {SECRET}"} == sent(Client())
    assert {"authorization": "Bearer other"} == sent(Client(api_key="other"))
    assert {} == sent(Client(api_key=""))
    assert {"x-api-key": "own"} == sent(Client(metadata={"X-Api-Key": "own"}))


def test_credentials_of_two_sources_are_refused() -> None:
    """Which of them is meant is not guessed."""
    with pytest.raises(ValueError, match="both given"):
        Client(api_key=SECRET, metadata={"Authorization": "Bearer x"})


@pytest.mark.parametrize("key", ["two words", "line\nend", "ключ", "a\x00b"])
def test_a_key_that_cannot_be_sent_is_refused(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is named by its source, and not shown."""
    with pytest.raises(ValueError, match="api_key has characters") as failed:
        Client(api_key=key)
    assert key not in str(failed.value)
    monkeypatch.setattr("os.environ", {KEY_VARIABLE: key})
    with pytest.raises(ValueError, match=KEY_VARIABLE):
        Client()


@pytest.mark.parametrize(
    "target",
    [
        "10.0.0.1:50051",
        "backend.test:50051",
        "localhost.test:50051",
        "127.0.0.1.test:50051",
        "dns:///backend.test:50051",
        "ipv4:127.0.0.1:1,10.0.0.1:1",
        "0.0.0.0:50051",
    ],
)
def test_no_key_goes_to_another_machine_in_plain_text(
    target: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Unless it is said so; with TLS it may."""
    with pytest.raises(ValueError, match="could be read on the way") as failed:
        Client(target, api_key=SECRET)
    assert SECRET not in str(failed.value)
    for credentials in (PLAIN_TEXT, Tls(), grpc.ssl_channel_credentials()):
        assert (
            f"Bearer {SECRET}"
            == sent(Client(target, credentials=credentials, api_key=SECRET))["authorization"]
        )
    Client(target)
    monkeypatch.setenv(KEY_VARIABLE, SECRET)
    with pytest.raises(ValueError, match=KEY_VARIABLE):
        Client(target)


@pytest.mark.parametrize(
    "target", ["localhost:1", "127.0.0.1:1", "[::1]:1", "unix:/run/backend.sock", "unix-abstract:x"]
)
def test_a_key_goes_to_this_machine(target: str) -> None:
    """What does not leave the machine needs no TLS."""
    assert {"authorization": f"Bearer {SECRET}"} == sent(Client(target, api_key=SECRET))


def test_plain_text_is_no_tls() -> None:
    """It makes the channel that None makes."""
    settings = Client("10.0.0.1:1", credentials=PLAIN_TEXT, api_key=SECRET)._link.settings
    assert None is settings.channel_credentials()
    assert "PLAIN_TEXT" == repr(PLAIN_TEXT)


def test_the_key_is_not_shown() -> None:
    """Neither the key nor metadata with credentials stand in a repr."""
    for client in (Client(api_key=SECRET), Client(metadata={"authorization": SECRET})):
        assert SECRET not in repr(client._link.settings)


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (grpc.StatusCode.UNAUTHENTICATED, UnauthenticatedError),
        (grpc.StatusCode.PERMISSION_DENIED, ForbiddenError),
    ],
)
def test_refusals_are_typed(
    client: Client, backend: FakeBackend, code: grpc.StatusCode, expected: type[Exception]
) -> None:
    """Who is not known, and who may not, is told apart by the type."""
    backend.script(Failure(code))
    with pytest.raises(expected):
        client.process("hi")


@pytest.mark.parametrize("module", [call, health, models])
def test_commands_refuse_to_send_it_in_plain_text(
    module: ModuleType, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In one sentence that names the options, as wrong use."""
    parser = argparse.ArgumentParser()
    module.add_arguments(parser)
    words = ["hi"] if module is call else []
    monkeypatch.setenv(KEY_VARIABLE, SECRET)
    code = module.run(parser.parse_args([*words, "--target", "10.0.0.1:1"]))
    said = capsys.readouterr().err
    assert (2, 1, True, False) == (code, said.count("\n"), "--plain-text" in said, SECRET in said)
    both = [*words, "--target", "10.0.0.1:1", "--tls", "--plain-text"]
    assert 2 == module.run(parser.parse_args(both))


def test_the_command_s_key_outranks_the_environment_s(
    backend: FakeBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`--key`, or else the variable."""
    monkeypatch.setenv(KEY_VARIABLE, "other")
    parser = argparse.ArgumentParser()
    call.add_arguments(parser)
    for words in ([], ["--key", SECRET]):
        call.run(parser.parse_args(["hi", "--target", backend.target, *words]))
    assert ["Bearer other", f"Bearer {SECRET}"] == [
        one["authorization"] for one in backend.metadata
    ]
