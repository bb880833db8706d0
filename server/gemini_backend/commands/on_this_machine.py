"""What commands share that work on `state.dir` of this machine, or through a running server."""

from __future__ import annotations

import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gemini_backend import masking
from gemini_backend.config import ConfigError, read
from gemini_backend.errors import InvalidRequest, ServiceError
from gemini_backend_client import InvalidRequestError
from gemini_backend_client.commands.command_line import CommandError, UsageError, client_from

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace
    from collections.abc import Callable, Iterator, Mapping

    from gemini_backend.config import Settings

    Ask = Callable[[str, Any], Any]

_ROOT = 0
_FOR_SERVERS = ("key", "tls", "tls_ca", "tls_cert", "tls_key", "plain_text")


def add_actions(
    parser: ArgumentParser, command: str, texts: Mapping[str, str], examples: Mapping[str, str]
) -> Iterator[tuple[str, ArgumentParser]]:
    """Declare the actions of a command; yield each with its parser, for its own arguments.

    Args:
        parser: Of the command.
        command: As it is typed, such as `gemini-backend keys`.
        texts: What each action does, beginning in lower case.
        examples: What follows the command in an example of each.
    """
    actions = parser.add_subparsers(title="actions", metavar="ACTION")
    for action, text in texts.items():
        one = actions.add_parser(
            action,
            help=text,
            description=f"{text[0].upper()}{text[1:]}.",
            epilog=f"example: {command} {examples[action]}",
        )
        one.set_defaults(act=action)
        yield action, one


@contextmanager
def asking_server(args: Namespace, service: str) -> Iterator[Ask]:
    """Give what asks a running server.

    Args:
        args: Say where it is.
        service: The name of the client's stub.

    Raises:
        UsageError: arguments do not go together, or the server finds a field invalid.
        GeminiBackendError: the call fails.
    """
    if getattr(args, "config", None):
        msg = (
            "--config is about this machine's store, and --target about a server: omit one of them"
        )
        raise UsageError(msg)
    with asking(args, service) as ask:
        yield ask


@contextmanager
def asking(args: Namespace, service: str) -> Iterator[Ask]:
    """Give what calls a method of a service by its name.

    Args:
        args: Say where the server is.
        service: The name of the client's stub.

    Raises:
        UsageError: arguments do not go together, or the server finds a field invalid.
        GeminiBackendError: the call fails.
    """
    with client_from(args) as client:

        def ask(method: str, request: Any) -> Any:
            try:
                return client.call(getattr(getattr(client.stubs, service), method), request)
            except InvalidRequestError as error:
                raise UsageError(error.message) from error

        yield ask


def settings_here(args: Namespace, command: str) -> Settings:
    """Return the settings of this machine, for a command that writes into its `state.dir`.

    Raises:
        UsageError: arguments are for a server, the configuration is invalid, or `state.dir` belongs
            to another user.
    """
    beside = [name for name in _FOR_SERVERS if getattr(args, name)]
    if beside:
        msg = f"--{beside[0].replace('_', '-')} is for a server: name it by --target HOST:PORT"
        raise UsageError(msg)
    try:
        settings = read(args.config, os.environ)
    except ConfigError as error:
        raise UsageError(str(error)) from error
    _refuse_foreign(Path(settings.config.state.dir).expanduser(), command)
    return settings


@contextmanager
def refusals_told() -> Iterator[None]:
    """Let what a service refuses be told as a command tells it.

    Raises:
        UsageError: the service finds a field invalid.
        CommandError: it refuses for another reason.
    """
    try:
        yield
    except InvalidRequest as error:
        raise UsageError(masking.text(error.message)) from error
    except ServiceError as error:
        raise CommandError(f"{masking.text(error.message)} [{error.reason}]") from error


def _refuse_foreign(folder: Path, command: str) -> None:
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
            f"there; run this as that user: sudo -u '#{owner}' {command} ..."
        )
        raise UsageError(msg)


def _owner(folder: Path) -> int:
    return folder.stat().st_uid
