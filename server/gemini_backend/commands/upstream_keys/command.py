"""The command: what it is asked for, and what it prints. It never takes a key as an argument."""

from __future__ import annotations

import getpass
import re
import sys
from argparse import ArgumentTypeError
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from google.protobuf.json_format import MessageToJson

from gemini.backend.v1 import upstream_key_service_pb2 as pb
from gemini_backend import masking
from gemini_backend.commands.on_this_machine import add_actions
from gemini_backend.commands.upstream_keys.doors import here, there
from gemini_backend.config.secret_text import cleaned
from gemini_backend_client.commands.command_line import (
    UsageError,
    add_connection_arguments,
    run_reported,
)
from gemini_backend_client.commands.table import table

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace
    from collections.abc import Callable

NAME = "gemini-backend upstream-keys"
ACTIONS = {
    "add": "store a key of Gemini, encrypted; it is read from standard input or a file",
    "list": "list the keys of every source, without the keys themselves",
    "remove": "remove a stored key",
    "rotate-encryption": "encrypt the stored keys with a new key, under the first master key",
}
_EXAMPLES = {
    "add": "add --project team-a < key.txt",
    "list": "list --target 127.0.0.1:50051",
    "remove": "remove 6abf323d",
    "rotate-encryption": "rotate-encryption",
}
_PREFIX = "upstreamKeys/"
_MAX_CHARACTERS = 8192
_HEADINGS = ("KEY", "PROJECT", "SOURCE", "STORED", "NAME")


def add_arguments(parser: ArgumentParser) -> None:
    """Declare the actions, each with its own arguments."""
    for action, one in add_actions(parser, NAME, ACTIONS, _EXAMPLES):
        if action == "add":
            _add_key_arguments(one)
        elif action == "remove":
            one.add_argument(
                "upstream_key", metavar="KEY", type=_name, help="its id, as list shows it"
            )
        one.add_argument("--json", action="store_true", help="print everything as JSON")
        one.add_argument(
            "--config", type=Path, metavar="FILE", help="TOML file with settings, for state.dir"
        )
        add_connection_arguments(one, otherwise="none; works on state.dir of this machine")


def run(args: Namespace) -> int:
    """Do as asked.

    Returns:
        0 when done, 1 when it failed, 2 for wrong use, 130 after Ctrl-C.
    """
    return run_reported(NAME, lambda: _run(args))


def _add_key_arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--file",
        type=Path,
        metavar="FILE",
        help="file with the key alone (default: standard input)",
    )
    parser.add_argument(
        "--project",
        default="",
        help="project that it belongs to; keys of one project share its quota (default: its own)",
    )
    parser.add_argument("--display-name", default="", help="what it is for, in words")


def _run(args: Namespace) -> None:
    act = getattr(args, "act", None)
    if act is None:
        msg = f"say what to do, one of {', '.join(ACTIONS)}; {NAME} add --help has more"
        raise UsageError(msg)
    door = there(args) if args.target else here(args)
    with door as ask:
        _ACTS[act](args, ask)


def _add(args: Namespace, ask: Callable[[str, Any], Any]) -> None:
    request = pb.CreateUpstreamKeyRequest(
        key=_key(args.file), project=args.project, display_name=args.display_name
    )
    made = ask("CreateUpstreamKey", request).upstream_key
    _print(_json(made) if args.json else f"stored {made.name} of project {_plain(made.project)}\n")


def _list(args: Namespace, ask: Callable[[str, Any], Any]) -> None:
    found = ask("ListUpstreamKeys", pb.ListUpstreamKeysRequest()).upstream_keys
    if args.json:
        for one in found:
            _print(_json(one))
    else:
        _print(table([_HEADINGS, *map(_row, found)]))


def _remove(args: Namespace, ask: Callable[[str, Any], Any]) -> None:
    response = ask("DeleteUpstreamKey", pb.DeleteUpstreamKeyRequest(name=args.upstream_key))
    _print(_json(response) if args.json else f"removed {args.upstream_key}\n")


def _rotate(args: Namespace, ask: Callable[[str, Any], Any]) -> None:
    done = ask("RotateUpstreamKeyEncryption", pb.RotateUpstreamKeyEncryptionRequest())
    _print(_json(done) if args.json else f"encrypted again: {done.reencrypted_count}\n")


_ACTS: dict[str, Callable[[Namespace, Callable[[str, Any], Any]], None]] = {
    "add": _add,
    "list": _list,
    "remove": _remove,
    "rotate-encryption": _rotate,
}


def _key(file: Path | None) -> str:
    """Return the key that a file or standard input has, alone; it is masked from now on.

    Raises:
        UsageError: there is none, or more; never with what there is.
    """
    where = "standard input" if file is None else str(file)
    try:
        text = cleaned(_text(file))
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not a text"
        msg = f"cannot read {where}: {why}; give a file with the key alone by --file"
        raise UsageError(msg) from error
    masking.remember([text])
    if not text or len(text) > _MAX_CHARACTERS or len(text.split()) > 1:
        msg = f"{where} does not have one key alone; give the key as Google shows it"
        raise UsageError(msg)
    return text


def _text(file: Path | None) -> str:
    if file is not None:
        with file.open(encoding="utf-8") as opened:
            return opened.read(_MAX_CHARACTERS + 1)
    if sys.stdin.isatty():
        return getpass.getpass("Key (not shown): ")
    return sys.stdin.read(_MAX_CHARACTERS + 1)


def _name(text: str) -> str:
    """Return the name of a key by its id.

    Raises:
        ArgumentTypeError: it is none; it is not quoted, since it may be a key.
    """
    key_id = text.removeprefix(_PREFIX)
    if not re.fullmatch(r"[0-9a-f]{8}", key_id):
        msg = f"it is not the id of a key, 8 hexadecimal digits, as {NAME} list shows it"
        raise ArgumentTypeError(msg)
    return f"{_PREFIX}{key_id}"


def _row(one: pb.UpstreamKey) -> tuple[str, ...]:
    source = pb.UpstreamKeySource.Name(one.source).removeprefix("UPSTREAM_KEY_SOURCE_").lower()
    stored = "-"
    if one.HasField("create_time"):
        stored = f"{datetime.fromtimestamp(one.create_time.seconds, UTC):%Y-%m-%d %H:%M:%S}Z"
    key_id = one.name.removeprefix(_PREFIX)
    return key_id, _plain(one.project), source, stored, _plain(one.display_name) or "-"


def _plain(text: str) -> str:
    """Return a text without what a terminal would act on."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def _print(text: str) -> None:
    sys.stdout.write(text)


def _json(message: Any) -> str:
    return MessageToJson(message, preserving_proto_field_name=True, indent=None) + "\n"
