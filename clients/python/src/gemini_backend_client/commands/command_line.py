"""What the commands share: where the server is, exit codes, and how they tell of failure."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Final

from gemini_backend_client.client import Client
from gemini_backend_client.connection import (
    DEFAULT_TARGET,
    DEFAULT_TIMEOUT,
    KEY_VARIABLE,
    PLAIN_TEXT,
    Tls,
)
from gemini_backend_client.errors import GeminiBackendError

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace
    from collections.abc import Callable

    from gemini_backend_client.connection import PlainText

__all__ = [
    "DONE",
    "FAILED",
    "INTERRUPTED",
    "WRONG_USE",
    "CommandError",
    "UsageError",
    "add_connection_arguments",
    "client_from",
    "explain",
    "run_reported",
]

DONE: Final = 0
FAILED: Final = 1
WRONG_USE: Final = 2
INTERRUPTED: Final = 130


class UsageError(Exception):
    """The command was used wrongly; the message names the fix."""


class CommandError(Exception):
    """The command failed without a server's part in it; the message names the fix."""


def add_connection_arguments(parser: ArgumentParser, otherwise: str = "") -> None:
    """Add where the server is, how to reach it and how long to wait.

    Args:
        parser: the command's.
        otherwise: what it does without a server, where it can do that; then no server is the
            default.
    """
    group = parser.add_argument_group("connection")
    group.add_argument(
        "--target",
        metavar="HOST:PORT",
        default="" if otherwise else DEFAULT_TARGET,
        help=f"address of the server (default: {otherwise or DEFAULT_TARGET})",
    )
    group.add_argument(
        "--timeout",
        metavar="SECONDS",
        type=float,
        default=DEFAULT_TIMEOUT,
        help=f"timeout for the whole answer (default: {DEFAULT_TIMEOUT:g})",
    )
    group.add_argument(
        "--key",
        metavar="KEY",
        help=f"API key, or a token; default: that of the environment variable {KEY_VARIABLE}, "
        "which, unlike an argument, other users of this machine cannot see",
    )
    group.add_argument(
        "--tls", action="store_true", help="use TLS and trust the authorities of the system"
    )
    group.add_argument(
        "--tls-ca", metavar="FILE", help="PEM file with the authorities to trust; enables TLS"
    )
    group.add_argument(
        "--tls-cert",
        metavar="FILE",
        help="PEM file with this client's certificate, for mutual TLS; requires the key",
    )
    group.add_argument(
        "--tls-key", metavar="FILE", help="PEM file with the key of that certificate"
    )
    group.add_argument(
        "--plain-text",
        action="store_true",
        help="send the API key to another machine without TLS, where it can be read on the way",
    )


def client_from(args: Namespace) -> Client:
    """Return the client that the arguments describe.

    Raises:
        UsageError: for arguments that do not go together, or files that cannot be read.
    """
    try:
        return Client(
            args.target, credentials=_credentials(args), api_key=args.key, timeout=args.timeout
        )
    except OSError as error:
        msg = f"cannot read {error.filename}: {error.strerror}"
        raise UsageError(msg) from error
    except ValueError as error:
        raise UsageError(str(error)) from error


def _credentials(args: Namespace) -> Tls | PlainText | None:
    """Return how the channel is to be secured; None where nothing is said.

    Raises:
        UsageError: for arguments that do not go together.
        OSError: when a file cannot be read.
        ValueError: when only one of certificate and key is given.
    """
    if args.tls or args.tls_ca or args.tls_cert or args.tls_key:
        if args.plain_text:
            msg = "--plain-text and TLS are both asked for: omit one of them"
            raise UsageError(msg)
        return Tls.from_files(args.tls_ca, args.tls_cert, args.tls_key)
    return PLAIN_TEXT if args.plain_text else None


def explain(error: GeminiBackendError) -> str:
    """Return a failure in one line: the message, and the reason to look it up by."""
    text = " ".join(error.message.split())
    if error.retry_after is not None:
        text += f" (retry in {error.retry_after:.3g} s)"
    return f"{text} [{error.reason}]" if error.reason else text


def run_reported(command: str, work: Callable[[], int | None]) -> int:
    """Do `work`; return its exit code, or that of what goes wrong, told in a sentence on stderr."""
    try:
        code = work()
        sys.stdout.flush()
    except (UsageError, UnicodeEncodeError) as error:
        sys.stderr.write(f"{command}: {_misuse(error)}\n")
        return WRONG_USE
    except CommandError as error:
        sys.stderr.write(f"{command}: {error}\n")
        return FAILED
    except GeminiBackendError as error:
        sys.stderr.write(f"{command}: {explain(error)}\n")
        return FAILED
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # What is still buffered has nowhere to go; without this, Python's exit would say so.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    return DONE if code is None else code


def _misuse(error: UsageError | UnicodeEncodeError) -> str:
    """Return what was wrong; only the command line has characters that UTF-8 cannot encode."""
    if isinstance(error, UsageError):
        return str(error)
    if error.encoding != "utf-8":
        raise error
    return "an argument is not valid UTF-8; write it in UTF-8"
