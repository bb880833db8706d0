"""`gemini-backend keys` on this machine's store.

Covers: commands/keys/asked.py, commands/keys/doors.py, commands/keys/shown.py,
commands/on_this_machine.py
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
from typing import TYPE_CHECKING, Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from gemini.backend.v1 import key_service_pb2 as pb
from gemini_backend.clock import SystemClock
from gemini_backend.commands import on_this_machine
from gemini_backend.commands.keys import command, doors, shown
from gemini_backend.commands.keys.command import add_arguments, run
from gemini_backend.config.sections.auth import SecretsOptions
from gemini_backend.identity.api_keys import ApiKeys, open_keys
from gemini_backend.keyring import LazyKeyring
from gemini_backend.principal import Role
from gemini_backend_client import KEY_VARIABLE

if TYPE_CHECKING:
    from pathlib import Path

    from gemini_backend.principal import Principal


class Shell:
    """Runs the command, and keeps what it printed."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder = folder
        self._capsys = capsys
        self.out = self.err = ""

    def __call__(self, *words: str) -> int:
        parser = argparse.ArgumentParser()
        add_arguments(parser)
        try:
            code = run(parser.parse_args(words))
        except SystemExit as ended:
            code = ended.code if isinstance(ended.code, int) else 0
        self.out, self.err = self._capsys.readouterr()
        return code

    def create(self, *words: str) -> str:
        """Return the secret of a key that is made."""
        assert 0 == self("create", "--tenant", "acme", *words), self.err
        return self.out.strip()


@pytest.fixture
def shell(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Shell:
    """Give a shell whose `state.dir` does not exist yet."""
    folder = tmp_path / "state"
    monkeypatch.setenv("GEMINI_BACKEND_STATE__DIR", str(folder))
    return Shell(folder, capsys)


def seen_by_a_server(folder: Path, secret: str) -> Principal | None:
    """Return whose secret it is for a server with this state."""

    async def verify() -> Principal | None:
        clock, keyring = SystemClock(), LazyKeyring(str(folder), SecretsOptions())
        keys = ApiKeys(open_keys(str(folder), keyring, clock=clock), clock=clock, wall=clock.now)
        try:
            await keys.refresh()
            return keys.known(secret)
        finally:
            await keys.aclose()

    return asyncio.run(verify())


def test_create_prints_the_key_alone(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal also shows which one it is, on standard error and without the secret."""
    secret = shell.create("--name", "ann", "--role", "viewer", "--role", "caller")
    assert (f"{secret}\n", "") == (shell.out, shell.err)
    found = seen_by_a_server(shell.folder, secret)
    assert found is not None
    assert ("acme", "ann", {Role.VIEWER, Role.CALLER}) == (found.tenant, found.name, found.roles)
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    secret = shell.create("--name", "bob")
    assert f"{secret}\n" == shell.out
    assert (True, False) == ("principal bob of tenant acme" in shell.err, secret in shell.err)


def test_everything_of_a_key_can_be_said(shell: Shell) -> None:
    """Models, limits, an expiry and a text; `--json` prints all of it with the secret."""
    words = "--model models/a* --model b --expires 2w --requests-per-minute 0"
    assert 0 == shell(
        "create", "--tenant", "acme", *words.split(), "--tokens-per-minute", "9",
        "--display-name", "a b", "--json",
    )  # fmt: skip
    made = json.loads(shell.out)
    key = made["key"]
    assert made["secret"].startswith(f"gbk_{key['name'].removeprefix('keys/')}_")
    assert (["models/a*", "b"], {"requests_per_minute": 0, "tokens_per_minute": "9"}, "a b") == (
        key["allowed_models"],
        key["limits"],
        key["display_name"],
    )
    assert 0 == shell("get", key["name"])
    for fact in ("models/a*, b", "no limit", "9\n", "a b", "active"):
        assert fact in shell.out


def test_a_key_is_rotated_and_revoked(shell: Shell) -> None:
    """By its name, its id, or a secret of it; the new secret stands alone."""
    first = shell.create("--name", "ann")
    key = first.split("_")[1]
    assert 0 == shell("rotate", key, "--overlap", "0s")
    second = shell.out.strip()
    assert (None, "ann") == (
        seen_by_a_server(shell.folder, first),
        getattr(seen_by_a_server(shell.folder, second), "name", None),
    )
    assert 0 == shell("revoke", f"keys/{key}")
    assert f"revoked keys/{key} of principal ann" in shell.out
    assert None is seen_by_a_server(shell.folder, second)
    assert 0 == shell("revoke", second, "--json")
    assert "API_KEY_STATE_REVOKED" == json.loads(shell.out)["state"]
    assert 1 == shell("rotate", key)
    assert "create another key" in shell.err


def test_keys_are_listed(shell: Shell) -> None:
    """As a table, or one JSON a line; revoked ones with `--all`."""
    shell.create("--name", "ann")
    gone = shell.create("--name", "bob")
    shell("revoke", gone)
    assert 0 == shell("list")
    assert (2, True) == (shell.out.count("\n"), "ann" in shell.out)
    assert 0 == shell("list", "--all", "--json")
    assert ["bob", "ann"] == [json.loads(line)["principal"] for line in shell.out.splitlines()]
    assert 0 == shell("list", "--tenant", "other")
    assert 1 == shell.out.count("\n")


def test_a_list_makes_no_store(shell: Shell) -> None:
    """To look at nothing leaves nothing behind."""
    assert 0 == shell("list")
    assert not shell.folder.exists()


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ("", 2, "say what to do, one of create"),
        ("create --tenant", 2, "expected one argument"),
        ("create --tenant a/b", 2, "key.tenant"),
        ("create --tenant a --role emperor", 2, "invalid choice"),
        ("create --tenant a --expires soon", 2, "such as 90d"),
        ("create --tenant a --expires 0s", 2, "such as 90d"),
        ("create --tenant a --expires 9999999d", 2, "at most 3650d"),
        ("create --tenant a --requests-per-minute -1", 2, "requests-per-minute"),
        ("create --tenant a --tokens-per-minute x", 2, "not a number"),
        ("create --tenant a --key x", 2, "--target HOST:PORT"),
        ("create --tenant a --tls-ca x", 2, "--tls-ca is for a server"),
        ("get nobody", 1, "keys/nobody"),
        ("get keys/../x", 2, "gemini-backend keys list"),
        ("rotate nobody --overlap 91d", 2, "overlap"),
        ("list --config x --target 127.0.0.1:1", 2, "omit one of them"),
        ("list --config /nowhere.toml", 2, "/nowhere.toml"),
        ("whoami --target 127.0.0.1:1", 1, "cannot be reached"),
    ],
)
def test_wrong_use_is_told(shell: Shell, words: str, code: int, said: str) -> None:
    """In a sentence that names the fix, without a traceback; 2 for wrong use, 1 for a failure."""
    assert (code, "") == (shell(*words.split()), shell.out)
    assert said in shell.err


def test_a_name_that_is_taken_is_refused(shell: Shell) -> None:
    """With the key that has it."""
    key = shell.create("--name", "ann").split("_")[1]
    assert 1 == shell("create", "--tenant", "acme", "--name", "ann")
    assert f"keys/{key}; rotate that one" in shell.err


def test_a_secret_that_is_mistyped_is_not_shown(shell: Shell) -> None:
    """Not even in the error about it."""
    secret = shell.create()
    assert 2 == shell("get", secret + "x")
    assert (False, False) == (secret[17:] in shell.err, secret[17:] in shell.out)


def test_a_damaged_store_is_told(shell: Shell) -> None:
    """With the fix."""
    shell.create()
    (shell.folder / "identity.sqlite3").write_bytes(b"damaged" * 1000)
    for one in shell.folder.glob("identity.sqlite3-*"):
        one.unlink()
    assert 1 == shell("list")
    assert "restore a backup" in shell.err


def test_root_makes_no_files_for_others(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    """What root wrote into another user's state would be unreadable for that user's server."""
    shell.folder.mkdir()
    monkeypatch.setattr(on_this_machine, "_ROOT", os.geteuid())
    monkeypatch.setattr(on_this_machine, "_owner", lambda _folder: 4242)
    assert 2 == shell("create", "--tenant", "acme")
    assert "sudo -u '#4242'" in shell.err
    assert [] == list(shell.folder.iterdir())


def test_changes_are_in_the_audit_log(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    """Which act, of which key; reading is none."""
    acts: list[tuple[str, str]] = []
    recorded = doors.record_local

    def noted(config: Any, action: str, *more: Any) -> Any:
        acts.append((action, *more[:1]))
        return recorded(config, action, *more)

    monkeypatch.setattr(doors, "record_local", noted)
    key = shell.create().split("_")[1]
    for words in ("get", "rotate", "revoke"):
        shell(words, key)
    shell("list")
    assert [
        ("keys create", ""),
        ("keys rotate", f"keys/{key}"),
        ("keys revoke", f"keys/{key}"),
    ] == acts


def test_the_environment_s_key_does_not_matter_here(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is for servers; and it is not taken for a setting."""
    monkeypatch.setenv(KEY_VARIABLE, "gbk_x")
    assert shell.create()


def test_what_a_terminal_would_act_on_is_not_printed() -> None:
    """A text that somebody chose cannot move the cursor, nor forge a line."""
    key = pb.ApiKey(display_name="a\x1b[2Jb\nstate: active", allowed_models=["m\x07"])
    text = shown.key(key)
    assert (False, False, 15) == ("\x1b" in text, "\x07" in text, text.count("\n"))


def test_who_am_i_is_shown() -> None:
    """Every fact has its line."""
    who = pb.Principal(
        tenant="acme",
        name="ann",
        roles=[pb.ROLE_CALLER],
        method=pb.AUTH_METHOD_API_KEY,
        api_key="keys/a",
        expire_time=Timestamp(seconds=0),
    )
    text = shown.principal(who)
    for fact in (
        "acme",
        "ann",
        "caller",
        "api key",
        "all",
        "as configured",
        "1970-01-01 00:00:00Z",
    ):
        assert fact in text
    assert "nothing" in shown.principal(pb.Principal())
    late = pb.Principal(expire_time=Timestamp(seconds=253402300799 * 10))
    assert "after 1970" in shown.principal(late)


def test_every_action_is_done() -> None:
    """Each that can be asked for has what does it."""
    assert command.asked.ACTIONS.keys() == command._ACTS.keys()
