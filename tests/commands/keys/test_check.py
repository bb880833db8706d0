"""What `gemini-backend doctor` says of API keys."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from gemini_backend.clock import SystemClock
from gemini_backend.commands.keys import api_key_problems
from gemini_backend.config import Config, read
from gemini_backend.identity.api_keys import ApiKeys, NewKey, open_keys
from gemini_backend.keyring import LazyKeyring

if TYPE_CHECKING:
    from pathlib import Path


def config_of(folder: Path, methods: str = "api_key") -> Config:
    """Return a configuration with this state and these methods."""
    environ = {
        "GEMINI_BACKEND_STATE__DIR": str(folder),
        "GEMINI_BACKEND_AUTH__METHODS": methods,
    }
    return read(None, environ).config


async def made(config: Config, *, revoked: bool) -> None:
    """Make a key, and revoke it if that is asked for."""
    clock, keyring = SystemClock(), LazyKeyring(config.state.dir, config.secrets)
    keys = ApiKeys(open_keys(config.state.dir, keyring, clock=clock), clock=clock, wall=time.time)
    record, _ = await keys.create(NewKey("acme"))
    if revoked:
        await keys.revoke(record.key)
    await keys.aclose()


def test_a_server_that_nobody_can_call_is_told(tmp_path: Path) -> None:
    """Without any key, and where all are revoked; with the command that makes one."""
    config = config_of(tmp_path)
    ((check, problem),) = api_key_problems(config)
    assert ("auth.methods", True) == (check, "gemini-backend keys create" in problem)
    assert [] == list(tmp_path.iterdir())
    asyncio.run(made(config, revoked=True))
    assert [("auth.methods", problem)] == list(api_key_problems(config))
    asyncio.run(made(config, revoked=False))
    assert [("auth.methods", "")] == list(api_key_problems(config))


def test_keys_that_are_not_used_are_not_checked(tmp_path: Path) -> None:
    """Nothing is said where API keys are no method of authentication."""
    assert [] == list(api_key_problems(config_of(tmp_path, "")))


def test_a_store_that_cannot_be_used_is_told(tmp_path: Path) -> None:
    """A keyring that was lost, a damaged file: the problem has its fix."""
    config = config_of(tmp_path)
    asyncio.run(made(config, revoked=False))
    (tmp_path / "keyring.json").unlink()
    ((_, problem),) = api_key_problems(config)
    assert "another keyring; restore" in problem
    (tmp_path / "identity.sqlite3").write_bytes(b"damaged" * 1000)
    ((_, problem),) = api_key_problems(config)
    assert "restore a backup" in problem
