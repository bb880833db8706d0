"""Checks whether anybody could call: the store of API keys, and whether there is a key."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import TYPE_CHECKING

from gemini_backend.clock import SystemClock
from gemini_backend.errors import ServiceError
from gemini_backend.identity.api_keys import FILE, open_keys
from gemini_backend.keyring import LazyKeyring

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gemini_backend.config import Config

_CHECK = "auth.methods"
_NO_KEY = (
    "has api_key, and there is no API key that is accepted; gemini-backend keys create --tenant "
    "NAME --role admin makes one"
)


def api_key_problems(config: Config) -> Iterator[tuple[str, str]]:
    """Yield what was checked and what is wrong with it; nothing where API keys are not used."""
    if "api_key" not in config.auth.methods:
        return
    if not (Path(config.state.dir).expanduser() / FILE).exists():
        yield _CHECK, _NO_KEY
        return
    yield _CHECK, asyncio.run(_problem(config))


async def _problem(config: Config) -> str:
    keyring = LazyKeyring(config.state.dir, config.secrets)
    store = open_keys(config.state.dir, keyring, clock=SystemClock())
    try:
        await store.hasher()
        found = await store.page("", None, 1, now=time.time(), inactive=False)
    except ServiceError as error:
        return error.message
    finally:
        await store.aclose()
    return "" if found else _NO_KEY
