"""The two ways to AuditService: over this machine's files, and through a running server."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Any

from gemini_backend.api.admin.audit import AuditService
from gemini_backend.audit import key_of
from gemini_backend.audit.files import place_of
from gemini_backend.call import Call
from gemini_backend.config import ConfigError, read
from gemini_backend_client.commands.command_line import UsageError, client_from

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Callable

    from gemini_backend.config import Config

    Ask = Callable[[str, Any], Any]

_CALL = Call("local", "", 0.0)


def config_of(args: Namespace) -> Config:
    """Return the configuration that the arguments name.

    Raises:
        UsageError: it is wrong; the message names the fix.
    """
    try:
        return read(args.config, os.environ).config
    except ConfigError as error:
        raise UsageError(str(error)) from error


def here(args: Namespace) -> Ask:
    """Return what answers from the files of this machine.

    Raises:
        UsageError: the configuration is wrong.
    """
    config = config_of(args)
    service = AuditService(place_of(config), key_of(config))

    def ask(method: str, request: Any) -> Any:
        return asyncio.run(getattr(service, method)(_CALL, request))

    return ask


def there(args: Namespace) -> Ask:
    """Return what asks a running server.

    Raises:
        UsageError: for arguments that do not go together.
    """
    client = client_from(args)

    def ask(method: str, request: Any) -> Any:
        return client.call(getattr(client.stubs.audit, method), request)

    return ask
