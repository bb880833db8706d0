"""The two ways to KeyService: on this machine's files, and through a running server."""

from __future__ import annotations

import asyncio
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gemini.backend.v1 import key_service_pb2 as pb
from gemini_backend.api.admin.keys import KeyService
from gemini_backend.audit import record_local
from gemini_backend.call import Call, Work
from gemini_backend.clock import SystemClock
from gemini_backend.commands.on_this_machine import (
    asking_server,
    refusals_told,
    settings_here,
)
from gemini_backend.identity.api_keys import FILE, ApiKeys, open_keys
from gemini_backend.keyring import LazyKeyring
from gemini_backend.policies.checks.validate import Validate

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from gemini_backend.config import Config

    Ask = Callable[[str, Any], Any]

_CHANGES = {"CreateApiKey": "create", "RotateApiKey": "rotate", "RevokeApiKey": "revoke"}
_LOCAL = Call("keys", "", 0.0, work=Work.CALL)


def there(args: argparse.Namespace) -> AbstractContextManager[Ask]:
    """Return a scope that gives what asks a running server; see `asking_server`."""
    return asking_server(args, "keys")


@contextmanager
def here(args: argparse.Namespace) -> Iterator[Ask]:
    """Give what asks the store in `state.dir`, beside a server that may use it.

    Raises:
        UsageError: the configuration is invalid, or a field of the request is.
        CommandError: the store cannot be used, or refuses.
    """
    config, validate = settings_here(args, "gemini-backend keys").config, Validate()

    def ask(method: str, request: Any) -> Any:
        with refusals_told():
            validate.check(request)
            if method not in _CHANGES:
                return asyncio.run(_asked(config, method, request))
            return _recorded(config, method, request)

    yield ask


def _recorded(config: Config, method: str, request: Any) -> Any:
    """Do what changes something, and have it in the audit log."""
    creates = method == "CreateApiKey"
    details = {"tenant": request.key.tenant} if creates else {}
    name = "" if creates else request.name
    with record_local(config, f"keys {_CHANGES[method]}", name, details) as act:
        made = asyncio.run(_asked(config, method, request))
        act.target = made.key.name
        return made


async def _asked(config: Config, method: str, request: Any) -> Any:
    if method == "ListApiKeys" and not await asyncio.to_thread(_any_store, config):
        return pb.ListApiKeysResponse()  # to look at nothing makes no file
    clock, keyring = SystemClock(), LazyKeyring(config.state.dir, config.secrets)
    keys = ApiKeys(open_keys(config.state.dir, keyring, clock=clock), clock=clock, wall=time.time)
    try:
        return await getattr(KeyService(keys, time.time), method)(_LOCAL, request)
    finally:
        await keys.aclose()


def _any_store(config: Config) -> bool:
    return (Path(config.state.dir).expanduser() / FILE).exists()
