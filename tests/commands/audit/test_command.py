"""`gemini-backend audit`, over the files of this machine.

Covers: commands/audit/doors.py
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from gemini_backend.audit import record_local
from gemini_backend.cli import main
from tests.support.configs import load

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder for state that the command finds, with two acts in its log."""
    monkeypatch.setenv("GEMINI_BACKEND_STATE__DIR", str(tmp_path))
    config = load(None, {"GEMINI_BACKEND_STATE__DIR": str(tmp_path)})
    with record_local(config, "keys create", details={"tenant": "acme"}) as act:
        act.target = "keys/a1"
    with record_local(config, "upstream-keys delete", "upstreamKeys/u1"):
        pass
    return tmp_path


def log_of(state: Path) -> Path:
    return state / "audit/audit-000001.jsonl"


def test_list_shows_the_latest_first(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One row per entry: when, who, what, to whom, how it ended."""
    assert 0 == main(["audit", "list", "--action", "keys create"])
    heading, last, first = capsys.readouterr().out.splitlines()
    assert ["SEQUENCE", "TIME", "WHO", "ACTION", "TARGET", "CODE", "DETAILS"] == heading.split()
    assert last.split()[:1] == ["2"]
    for word in ("keys create", "keys/a1", "OK", "peer=local", "tenant=acme"):
        assert word in last
    assert "begun" in first


def test_list_as_json_is_bounded(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One line per entry, at most so many."""
    assert 0 == main(["audit", "list", "--json", "--limit", "3"])
    entries = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [4, 3, 2] == [entry["sequence"] for entry in entries]
    assert "upstreamKeys/u1" == entries[0]["target"]


def test_verify_says_that_all_is_there(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An intact log exits with 0."""
    assert 0 == main(["audit", "verify"])
    assert "the audit log is intact: 4 entries\n" == capsys.readouterr().out
    assert 0 == main(["audit", "verify", "--json"])
    told = json.loads(capsys.readouterr().out)
    assert {"intact": True, "entry_count": 4, "expected_count": 4, "defects": []} == told


def test_verify_names_every_defect(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An altered log exits with 1."""
    _, *rest = log_of(state).read_bytes().splitlines(keepends=True)
    log_of(state).write_bytes(b"".join(rest[:2]).replace(b"keys/a1", b"keys/a9"))
    assert 1 == main(["audit", "verify"])
    said = capsys.readouterr().out
    assert "entry 1 is missing before entry 2" in said
    assert "entry 3, or the one before it, was changed" not in said
    assert "entry 4 is missing at the end" in said
    assert "the audit log was altered: 2 lines and 4 expected entries" in said


def test_export_prints_the_lines_unchanged(
    state: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    """What is exported can be verified wherever it is kept."""
    assert 0 == main(["audit", "export"])
    assert log_of(state).read_bytes() == capfdbinary.readouterr().out


def test_a_forged_line_writes_nothing_to_the_terminal(
    state: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Control characters that somebody put into the file are escaped where they are shown."""
    data = log_of(state).read_bytes()
    log_of(state).write_bytes(data.replace(b'"keys/a1"', b'"\\u001b[2J\\u001b]0;x\\u0007"'))
    assert 0 == main(["audit", "list"])
    said = capsys.readouterr().out
    assert "\x1b" not in said
    assert "\\x1b[2J" in said


def test_no_log_is_no_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nothing was recorded, nothing is listed, and nothing is made."""
    monkeypatch.setenv("GEMINI_BACKEND_STATE__DIR", str(tmp_path))
    assert [0, 0, 0] == [main(["audit", action]) for action in ("list", "verify", "export")]
    assert [] == list(tmp_path.iterdir())


def test_wrong_use_is_said_in_a_sentence(
    state: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing to do, a wrong number, a wrong configuration: exit code 2, with the fix."""
    assert 2 == main(["audit"])
    assert "say what to do, one of list, verify, export" in capsys.readouterr().err
    assert 2 == main(["audit", "list", "--limit", "0"])
    monkeypatch.setenv("GEMINI_BACKEND_AUDIT__ENABLED", "perhaps")
    assert 2 == main(["audit", "verify"])
    assert "gemini-backend audit: " in capsys.readouterr().err


def test_files_that_cannot_be_read_are_a_failure(
    state: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 1, and what to fix."""
    log_of(state).unlink()
    log_of(state).mkdir()
    assert [1, 1, 1] == [main(["audit", action]) for action in ("list", "verify", "export")]
    assert 3 == capsys.readouterr().err.count("Is a directory")


def test_another_master_key_is_a_failure(
    state: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the key, nothing can be verified."""
    monkeypatch.setenv("GEMINI_BACKEND_SECRETS__MASTER_KEY", "0123456789abcdef" * 4)
    assert 1 == main(["audit", "verify"])
    assert "master key" in capsys.readouterr().err
