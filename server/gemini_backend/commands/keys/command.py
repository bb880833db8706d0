"""The command: what it is asked for, and what it prints."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from google.protobuf.json_format import MessageToJson

from gemini_backend.commands.keys import asked, shown
from gemini_backend.commands.keys.doors import here, there
from gemini_backend_client.commands.command_line import UsageError, run_reported

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterator

NAME = "gemini-backend keys"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    asked.add_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Do as asked.

    Returns:
        0 when done, 1 when it failed, 2 for wrong use, 130 after Ctrl-C.
    """
    return run_reported(NAME, lambda: _run(args))


def _run(args: argparse.Namespace) -> None:
    act = getattr(args, "act", None)
    if act is None:
        msg = f"say what to do, one of {', '.join(asked.ACTIONS)}; {NAME} create --help has more"
        raise UsageError(msg)
    door = there(args) if args.target else here(args)
    with door as ask:
        _ACTS[act](args, ask)


def _create(args: argparse.Namespace, ask: Callable[[str, Any], Any]) -> None:
    made = ask("CreateApiKey", asked.create_request(args))
    _print_secret(args, made, f"created {shown.sentence(made.key)}")


def _rotate(args: argparse.Namespace, ask: Callable[[str, Any], Any]) -> None:
    made = ask("RotateApiKey", asked.rotate_request(args))
    _print_secret(args, made, f"rotated {shown.sentence(made.key)}")


def _get(args: argparse.Namespace, ask: Callable[[str, Any], Any]) -> None:
    key = ask("GetApiKey", asked.get_request(args)).key
    _print(_json(key) if args.json else shown.key(key))


def _list(args: argparse.Namespace, ask: Callable[[str, Any], Any]) -> None:
    keys = _pages(args, ask)
    if args.json:
        for key in keys:
            _print(_json(key))
    else:
        _print(shown.keys(keys))


def _pages(args: argparse.Namespace, ask: Callable[[str, Any], Any]) -> Iterator[Any]:
    request = asked.list_request(args)
    while True:
        page = ask("ListApiKeys", request)
        yield from page.keys
        request.page_token = page.next_page_token
        if not request.page_token:
            return


def _revoke(args: argparse.Namespace, ask: Callable[[str, Any], Any]) -> None:
    key = ask("RevokeApiKey", asked.revoke_request(args)).key
    _print(_json(key) if args.json else f"revoked {shown.sentence(key)}\n")


def _whoami(args: argparse.Namespace, ask: Callable[[str, Any], Any]) -> None:
    principal = ask("WhoAmI", asked.whoami_request()).principal
    _print(_json(principal) if args.json else shown.principal(principal))


_ACTS: dict[str, Callable[[argparse.Namespace, Callable[[str, Any], Any]], None]] = {
    "create": _create,
    "list": _list,
    "get": _get,
    "rotate": _rotate,
    "revoke": _revoke,
    "whoami": _whoami,
}


def _print_secret(args: argparse.Namespace, made: Any, said: str) -> None:
    """Print a secret alone, for a variable or a file; the rest aside, where somebody watches."""
    if args.json:
        _print(_json(made))
        return
    _print(f"{made.secret}\n")
    sys.stdout.flush()
    if sys.stderr.isatty():
        sys.stderr.write(f"{said}; the key is shown only now, and is stored nowhere\n")


def _print(text: str) -> None:
    sys.stdout.write(text)


def _json(message: Any) -> str:
    return MessageToJson(message, preserving_proto_field_name=True, indent=None) + "\n"
