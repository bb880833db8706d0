"""What commands on this machine write into the audit log.

Covers: audit/failures.py
"""

from __future__ import annotations

import json
import os
import pwd
from typing import TYPE_CHECKING, Any

import pytest

from gemini_backend.audit import record_local
from gemini_backend.audit.files.place import place_of
from gemini_backend.audit.files.verification import verify
from gemini_backend.audit.local import key_of
from gemini_backend.errors import Conflict, StoreUnavailable
from tests.support.configs import load

if TYPE_CHECKING:
    from pathlib import Path

    from gemini_backend.config import Config


def config_in(folder: Path, **audit: str) -> Config:
    """Return a configuration whose state is in a folder."""
    named = {f"GEMINI_BACKEND_AUDIT__{name}": value for name, value in audit.items()}
    return load(None, {"GEMINI_BACKEND_STATE__DIR": str(folder), **named})


def entries(config: Config) -> list[dict[str, Any]]:
    """Return the entries of the log."""
    lines = place_of(config).file(1).read_text().splitlines()
    return [json.loads(line) for line in lines]


def test_an_act_has_a_beginning_and_an_end(tmp_path: Path) -> None:
    """Both name who did what, share an id, and the end has what was learned meanwhile."""
    config = config_in(tmp_path)
    with record_local(config, "keys create", details={"tenant": "acme"}) as act:
        assert 1 == len(entries(config))
        act.target = "keys/a1"
    first, second = entries(config)
    me = pwd.getpwuid(os.getuid()).pw_name
    assert ("keys create", "", "", me, "local") == tuple(
        first[name] for name in ("action", "target", "code", "principal", "peer")
    )
    assert ("keys/a1", "OK", "acme") == (
        second["target"],
        second["code"],
        second["details"]["tenant"],
    )
    assert first["details"]["act"] == second["details"]["act"]
    assert verify(place_of(config), key_of(config)).intact


def test_an_act_that_fails_ends_with_its_code(tmp_path: Path) -> None:
    """The failure is recorded with its reason, and raised."""
    config = config_in(tmp_path)
    with pytest.raises(Conflict), record_local(config, "keys rotate", "keys/a1"):
        raise Conflict("revoked")
    assert ("ABORTED", "CALLER_CONFLICT") == (
        entries(config)[1]["code"],
        entries(config)[1]["reason"],
    )
    with pytest.raises(ZeroDivisionError), record_local(config, "keys rotate"):
        raise ZeroDivisionError
    assert "UNKNOWN" == entries(config)[3]["code"]


def test_without_the_log_nothing_is_done(tmp_path: Path) -> None:
    """An act that cannot be recorded is refused before it begins, with the fix."""
    (tmp_path / "audit").write_text("in the way")
    with (
        pytest.raises(StoreUnavailable, match=r"cannot be used: File exists .*audit\.enabled"),
        record_local(config_in(tmp_path), "keys create"),
    ):
        pytest.fail("it was done")


def test_switched_off_it_leaves_nothing(tmp_path: Path) -> None:
    """With `audit.enabled = false` no file is made."""
    with record_local(config_in(tmp_path, ENABLED="false"), "keys create"):
        pass
    assert [] == list(tmp_path.iterdir())


def test_files_are_for_this_user_only(tmp_path: Path) -> None:
    """Nobody else reads or writes the log."""
    with record_local(config_in(tmp_path), "keys create"):
        pass
    made = [tmp_path / "audit.head", *(tmp_path / "audit").iterdir()]
    assert {0o600} == {file.stat().st_mode & 0o777 for file in made}
    assert 0o700 == (tmp_path / "audit").stat().st_mode & 0o777
