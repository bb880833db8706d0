"""`gemini-backend upstream-keys` on this machine's store.

Covers: commands/upstream_keys/doors.py
"""

from __future__ import annotations

import argparse
import io
import json
from typing import TYPE_CHECKING, Any

import pytest

from gemini.backend.v1 import upstream_key_service_pb2 as pb
from gemini_backend.commands import on_this_machine
from gemini_backend.commands.upstream_keys import command, doors
from gemini_backend.commands.upstream_keys.command import add_arguments, run
from gemini_backend.config.sections.auth import SecretsOptions
from gemini_backend.keyring import LazyKeyring
from gemini_backend.upstream.keys import KeyStore

if TYPE_CHECKING:
    from pathlib import Path

KEY = "AIzaSyB3-command6Key0x7Of1This4Test2Only"


class Shell:
    """Runs the command, and keeps what it printed."""

    def __init__(
        self, folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.folder = folder
        self._capsys, self._patch = capsys, monkeypatch
        self.out = self.err = ""

    def __call__(self, *words: str, given: str = "") -> int:
        self._patch.setattr("sys.stdin", io.StringIO(given))
        parser = argparse.ArgumentParser()
        add_arguments(parser)
        try:
            code = run(parser.parse_args(words))
        except SystemExit as ended:
            code = ended.code if isinstance(ended.code, int) else 0
        self.out, self.err = self._capsys.readouterr()
        return code

    def stored(self) -> list[tuple[str, str, str]]:
        """Return what a server with this state finds."""
        store = KeyStore(LazyKeyring(str(self.folder), SecretsOptions()))
        return [(one.text.reveal(), one.project, one.display_name) for one in store.read()]


@pytest.fixture
def shell(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Shell:
    """Give a shell whose `state.dir` does not exist yet."""
    folder = tmp_path / "state"
    monkeypatch.setenv("GEMINI_BACKEND_STATE__DIR", str(folder))
    return Shell(folder, capsys, monkeypatch)


def test_a_key_is_read_from_standard_input(shell: Shell) -> None:
    """It is stored, and not printed; a line end and quotes are no part of it."""
    code = shell("add", "--project", "p", "--display-name", "for tests", given=f'"{KEY}"\r\n')
    assert (0, [(KEY, "p", "for tests")]) == (code, shell.stored())
    assert KEY[:8] not in f"{shell.out}{shell.err}"


def test_a_key_is_read_from_a_file(shell: Shell, tmp_path: Path) -> None:
    """A file that is not there is wrong use."""
    (tmp_path / "key").write_text(f"{KEY}\n")
    assert 0 == shell("add", "--file", str(tmp_path / "key"))
    assert [KEY] == [text for text, _, _ in shell.stored()]
    assert 2 == shell("add", "--file", str(tmp_path / "none"))
    assert "No such file" in shell.err


def test_no_argument_takes_a_key() -> None:
    """Other users of the machine see the arguments of a process."""
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    with pytest.raises(SystemExit):
        parser.parse_args(["add", KEY])


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("", "does not have one key alone"),
        ("\n", "does not have one key alone"),
        (f"{KEY}\n{KEY}x\n", "does not have one key alone"),
        (f"name {KEY}", "does not have one key alone"),
        ("x" * 9000, "does not have one key alone"),
        ("short", "at least 8 characters"),
        (f"{KEY}ü", "key"),
    ],
)
def test_what_is_no_key_is_refused(shell: Shell, given: str, says: str) -> None:
    """Nothing is made, and nothing of it is printed."""
    assert 2 == shell("add", given=given)
    assert says in shell.err
    assert KEY[:8] not in shell.err
    assert not shell.folder.exists()


def test_a_key_is_stored_once(shell: Shell) -> None:
    """The second time fails, with the fix."""
    shell("add", given=KEY)
    assert 1 == shell("add", given=KEY)
    assert "remove it first" in shell.err


def test_keys_of_every_source_are_listed(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    """With `--json` one a line; never a key itself."""
    monkeypatch.setenv("GEMINI_API_KEY", "configured-key-1")
    shell("add", "--display-name", "a\x1b[2Jb", given=KEY)
    assert 0 == shell("list")
    assert ["KEY", "configuration", "store"] == [
        line.split()[0 if line.startswith("KEY") else 2] for line in shell.out.splitlines()
    ]
    assert "\x1b" not in shell.out
    shell("list", "--json")
    assert ["UPSTREAM_KEY_SOURCE_CONFIGURATION", "UPSTREAM_KEY_SOURCE_STORE"] == [
        json.loads(line)["source"] for line in shell.out.splitlines()
    ]
    assert KEY[:8] not in shell.out


def test_a_source_that_cannot_be_read_is_told(
    shell: Shell, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The list fails with the setting and the fix."""
    monkeypatch.setenv("GEMINI_BACKEND_UPSTREAM__GEMINI__API_KEYS_FILE", str(tmp_path / "none"))
    assert 1 == shell("list")
    assert "api_keys_file does not exist" in shell.err


def test_to_look_at_nothing_makes_no_file(shell: Shell) -> None:
    """A list without any key is its headings."""
    assert 0 == shell("list")
    assert (1, False) == (len(shell.out.splitlines()), shell.folder.exists())


def test_a_key_is_removed_by_its_id(shell: Shell) -> None:
    """By its name as well; what is no id may be a key, and is not printed."""
    shell("add", given=KEY)
    key_id = shell.out.split()[1].removeprefix("upstreamKeys/")
    assert 2 == shell("remove", KEY)
    assert KEY[:8] not in shell.err
    assert 0 == shell("remove", key_id)
    assert [] == shell.stored()
    assert 1 == shell("remove", f"upstreamKeys/{key_id}")
    assert "there is no stored key" in shell.err


def test_what_encrypts_is_changed(shell: Shell) -> None:
    """The keys stay."""
    shell("add", given=KEY)
    before = (shell.folder / "upstream_keys.json").read_text()
    assert 0 == shell("rotate-encryption")
    assert "encrypted again: 1\n" == shell.out
    assert before != (shell.folder / "upstream_keys.json").read_text()
    assert [KEY] == [text for text, _, _ in shell.stored()]


def test_changes_are_in_the_audit_log(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    """Which act, of which key; a list is none."""
    acts: list[str] = []
    recorded = doors.record_local

    def noted(config: Any, action: str, target: str) -> Any:
        acts.append(f"{action} {target}".strip())
        return recorded(config, action, target)

    monkeypatch.setattr(doors, "record_local", noted)
    shell("add", given=KEY)
    name = shell.out.split()[1]
    shell("list")
    shell("rotate-encryption")
    shell("remove", name)
    expected = ["add", "rotate-encryption", f"remove {name}"]
    assert [f"upstream-keys {act}" for act in expected] == acts
    assert KEY[:8] not in "".join(
        file.read_text() for file in shell.folder.rglob("*") if file.is_file()
    )


def test_wrong_use_names_the_fix(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    """No action; an option of the other way; another user's folder."""
    assert 2 == shell()
    assert "rotate-encryption" in shell.err
    assert 2 == shell("list", "--tls")
    assert "--target" in shell.err
    assert 2 == shell("list", "--config", "x", "--target", "127.0.0.1:1")
    shell.folder.mkdir()
    monkeypatch.setattr(on_this_machine, "_ROOT", on_this_machine.os.geteuid())
    monkeypatch.setattr(on_this_machine, "_owner", lambda _folder: 4242)
    assert 2 == shell("add", given=KEY)
    assert "sudo -u '#4242' gemini-backend upstream-keys" in shell.err


def test_a_terminal_is_asked(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without showing what is typed."""

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr(command.getpass, "getpass", lambda _prompt: KEY)
    monkeypatch.setattr(io, "StringIO", Terminal)
    assert 0 == shell("add")
    assert [KEY] == [text for text, _, _ in shell.stored()]


def test_every_source_has_its_word() -> None:
    """In the table."""
    rows = [command._row(pb.UpstreamKey(source=number)) for number in range(1, 5)]
    assert ["configuration", "file", "command", "store"] == [row[2] for row in rows]
