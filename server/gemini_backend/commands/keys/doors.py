"""The two ways to KeyService: on this machine's files, and through a running server."""

from __future__ import annotations

import asyncio
import os
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gemini.backend.v1 import key_service_pb2 as pb
from gemini_backend.api.admin.keys import KeyService
from gemini_backend.audit import record_local
from gemini_backend.call import Call, Work
from gemini_backend.clock import SystemClock
from gemini_backend.config import ConfigError, read
from gemini_backend.errors import InvalidRequest, ServiceError
from gemini_backend.identity.api_keys import FILE, ApiKeys, open_keys
from gemini_backend.keyring import LazyKeyring
from gemini_backend.policies.checks.validate import Validate
from gemini_backend_client import InvalidRequestError
from gemini_backend_client.commands.command_line import CommandError, UsageError, client_from

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterator

    from gemini_backend.config import Config

    Ask = Callable[[str, Any], Any]

_ROOT = 0
_CHANGES = {"CreateApiKey": "create", "RotateApiKey": "rotate", "RevokeApiKey": "revoke"}
_FOR_SERVERS = ("key", "tls", "tls_ca", "tls_cert", "tls_key", "plain_text")
_LOCAL = Call("keys", "", 0.0, work=Work.CALL)


@contextmanager
def there(args: argparse.Namespace) -> Iterator[Ask]:
    """Give what asks a running server.

    Raises:
        UsageError: arguments do not go together, or the server finds a field invalid.
        GeminiBackendError: the call fails.
    """
    if getattr(args, "config", None):
        msg = (
            "--config is about this machine's store, and --target about a server: omit one of them"
        )
        raise UsageError(msg)
    with client_from(args) as client:

        def ask(method: str, request: Any) -> Any:
            try:
                return client.call(getattr(client.stubs.keys, method), request)
            except InvalidRequestError as error:
                raise UsageError(error.message) from error

        yield ask


@contextmanager
def here(args: argparse.Namespace) -> Iterator[Ask]:
    """Give what asks the store in `state.dir`, beside a server that may use it.

    Raises:
        UsageError: the configuration is invalid, or a field of the request is.
        CommandError: the store cannot be used, or refuses.
    """
    beside = [name for name in _FOR_SERVERS if getattr(args, name)]
    if beside:
        msg = f"--{beside[0].replace('_', '-')} is for a server: name it by --target HOST:PORT"
        raise UsageError(msg)
    try:
        config = read(args.config, os.environ).config
    except ConfigError as error:
        raise UsageError(str(error)) from error
    _refuse_foreign(Path(config.state.dir).expanduser())
    validate = Validate()

    def ask(method: str, request: Any) -> Any:
        try:
            validate.check(request)
            if method not in _CHANGES:
                return asyncio.run(_asked(config, method, request))
            return _recorded(config, method, request)
        except InvalidRequest as error:
            raise UsageError(error.message) from error
        except ServiceError as error:
            raise CommandError(f"{error.message} [{error.reason}]") from error

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


def _refuse_foreign(folder: Path) -> None:
    """Refuse to make files of root's where a server of another user keeps its own.

    Raises:
        UsageError: this would.
    """
    if os.geteuid() != _ROOT or not folder.exists():
        return
    owner = _owner(folder)
    if owner != _ROOT:
        msg = (
            f"{folder} belongs to the user {owner}, whose server could not read what root writes "
            f"there; run this as that user: sudo -u '#{owner}' gemini-backend keys ..."
        )
        raise UsageError(msg)


def _owner(folder: Path) -> int:
    return folder.stat().st_uid
