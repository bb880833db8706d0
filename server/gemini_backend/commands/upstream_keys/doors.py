"""The two ways to UpstreamKeyService: on this machine's files, and through a running server."""

from __future__ import annotations

import asyncio
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from gemini_backend.api.admin.upstream_keys import UpstreamKeyService
from gemini_backend.audit import record_local
from gemini_backend.call import Call, Work
from gemini_backend.clock import SystemClock
from gemini_backend.commands.on_this_machine import (
    asking_server,
    refusals_told,
    settings_here,
)
from gemini_backend.config import ConfigError
from gemini_backend.keyring import LazyKeyring
from gemini_backend.policies.checks.validate import Validate
from gemini_backend.upstream.factory import SIMULATOR, chosen, make
from gemini_backend.upstream.keys import KeySet, KeySources, KeyStore
from gemini_backend_client.commands.command_line import CommandError, UsageError

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from gemini_backend.config import Config

    Ask = Callable[[str, Any], Any]

_LIST = "ListUpstreamKeys"
_CHANGES = {
    "CreateUpstreamKey": "upstream-keys add",
    "DeleteUpstreamKey": "upstream-keys remove",
    "RotateUpstreamKeyEncryption": "upstream-keys rotate-encryption",
}
_LOCAL = Call("upstream-keys", "", 0.0, work=Work.CALL)


def there(args: Namespace) -> AbstractContextManager[Ask]:
    """Return a scope that gives what asks a running server; see `asking_server`."""
    return asking_server(args, "upstream_keys")


@contextmanager
def here(args: Namespace) -> Iterator[Ask]:
    """Give what asks the store in `state.dir`, beside a server that may use it.

    A server that uses it takes a change over within 5 s.

    Raises:
        UsageError: the configuration is invalid, or a field of the request is.
        CommandError: the store, or another source, cannot be used, or the store refuses.
    """
    config, validate = settings_here(args, "gemini-backend upstream-keys").config, Validate()

    def ask(method: str, request: Any) -> Any:
        with refusals_told():
            validate.check(request)
            if method == _LIST:
                return asyncio.run(_asked(config, method, request))
            name = getattr(request, "name", "")
            with record_local(config, _CHANGES[method], name) as act:
                made = asyncio.run(_asked(config, method, request))
                if method == "CreateUpstreamKey":
                    act.target = made.upstream_key.name
                return made

    yield ask


async def _asked(config: Config, method: str, request: Any) -> Any:
    """Answer from this machine.

    Raises:
        UsageError: the way to Gemini cannot be configured so.
        CommandError: a source of keys cannot be read; for a list only.
        ServiceError: the service refuses.
    """
    keyring, keys = LazyKeyring(config.state.dir, config.secrets), KeySet()
    if method == _LIST:
        keys = await _configured(config)
    sources = KeySources(config.upstream.gemini, keys, KeyStore(keyring), SystemClock())
    service = UpstreamKeyService(sources, keyring, time.time)
    try:
        if method == _LIST:
            await sources.refresh()
            if sources.problems:
                raise CommandError("; ".join(sources.problems))
        return await getattr(service, method)(_LOCAL, request)
    finally:
        sources.close()


async def _configured(config: Config) -> KeySet:
    """Return the keys of the configuration, for Gemini alone.

    Raises:
        UsageError: the way to Gemini cannot be configured so.
    """
    if chosen(config) == SIMULATOR:
        return KeySet()
    try:
        provider = await make(config)
    except ConfigError as error:
        raise UsageError(str(error)) from error
    await provider.aclose()
    return provider.keys if provider.keys is not None else KeySet()
