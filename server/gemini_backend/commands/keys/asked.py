"""The arguments of the command, and the requests that they say."""

from __future__ import annotations

import re
from argparse import ArgumentTypeError
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from gemini.backend.v1 import key_service_pb2 as pb
from gemini_backend.commands.on_this_machine import add_actions
from gemini_backend.identity.api_keys import id_in
from gemini_backend_client.commands.command_line import add_connection_arguments

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

ACTIONS = {
    "create": "create an API key, and print it alone",
    "list": "list API keys, newest first, without their secrets",
    "get": "show one API key, without its secret",
    "rotate": "give an API key a new secret, and print that alone",
    "revoke": "revoke an API key permanently; its open streams end",
    "whoami": "show who the caller is, as a running server sees it",
}
ROLES = ("caller", "viewer", "operator", "admin")
_EXAMPLES = {
    "create": "create --tenant acme --name reports --role caller --expires 90d",
    "list": "list --tenant acme",
    "get": "get keys/Ab3dEf6hIj9k",
    "rotate": "rotate keys/Ab3dEf6hIj9k --overlap 24h",
    "revoke": "revoke keys/Ab3dEf6hIj9k",
    "whoami": "whoami --target 127.0.0.1:50051",
}
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_DURATION = re.compile(r"(\d{1,9})([smhdw])")
_MOST_DAYS = 3650


def add_arguments(parser: ArgumentParser) -> None:
    """Declare the actions, each with its own arguments."""
    for action, one in add_actions(parser, "gemini-backend keys", ACTIONS, _EXAMPLES):
        if action == "create":
            _add_key_arguments(one)
        elif action == "list":
            one.add_argument("--tenant", default="", help="only keys of this tenant")
            one.add_argument("--all", action="store_true", help="also revoked and expired keys")
        elif action != "whoami":
            one.add_argument("api_key", metavar="KEY", type=_name, help="its name, keys/ID, or ID")
        if action == "rotate":
            one.add_argument(
                "--overlap",
                type=_duration,
                metavar="TIME",
                help="how long the secret before is still accepted, such as 24h, or 0s "
                "(default: 1h)",
            )
        one.add_argument("--json", action="store_true", help="print everything as JSON")
        if action == "whoami":
            add_connection_arguments(one)
            continue
        one.add_argument(
            "--config", type=Path, metavar="FILE", help="TOML file with settings, for state.dir"
        )
        add_connection_arguments(one, otherwise="none; works on state.dir of this machine")


def _add_key_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--tenant", required=True, help="tenant of its principal")
    parser.add_argument(
        "--role",
        action="append",
        default=[],
        choices=ROLES,
        help="what it may do (default: caller); may be repeated",
    )
    parser.add_argument(
        "--name",
        default="",
        help="name of its principal, who owns sessions and the like (default: the id of the key)",
    )
    parser.add_argument(
        "--model",
        action="append",
        default=[],
        metavar="PATTERN",
        help="a model that it may use, or several by * (default: all models); may be repeated",
    )
    parser.add_argument(
        "--expires",
        type=_lifetime,
        metavar="TIME",
        help="how long it is accepted, such as 90d or 12h (default: forever)",
    )
    for unit in ("requests", "tokens"):
        parser.add_argument(
            f"--{unit}-per-minute",
            type=_count,
            metavar="N",
            help=f"its limit of {unit} per minute, 0 for none (default: as configured)",
        )
    parser.add_argument("--display-name", default="", help="what it is for, in words")


def create_request(args: Namespace) -> pb.CreateApiKeyRequest:
    """Return the request for a new key."""
    key = pb.ApiKey(
        tenant=args.tenant,
        principal=args.name,
        roles=[pb.Role.Value(f"ROLE_{role.upper()}") for role in args.role],
        allowed_models=args.model,
        display_name=args.display_name,
    )
    if args.requests_per_minute is not None:
        key.limits.requests_per_minute = args.requests_per_minute
    if args.tokens_per_minute is not None:
        key.limits.tokens_per_minute = args.tokens_per_minute
    request = pb.CreateApiKeyRequest(key=key)
    if args.expires is not None:
        request.ttl.FromTimedelta(args.expires)
    return request


def rotate_request(args: Namespace) -> pb.RotateApiKeyRequest:
    """Return the request for a new secret."""
    request = pb.RotateApiKeyRequest(name=args.api_key)
    if args.overlap is not None:
        request.overlap.FromTimedelta(args.overlap)
    return request


def list_request(args: Namespace) -> pb.ListApiKeysRequest:
    """Return the request for the first page."""
    return pb.ListApiKeysRequest(tenant=args.tenant, include_inactive=args.all, page_size=1000)


def get_request(args: Namespace) -> pb.GetApiKeyRequest:
    """Return the request for one key."""
    return pb.GetApiKeyRequest(name=args.api_key)


def revoke_request(args: Namespace) -> pb.RevokeApiKeyRequest:
    """Return the request that revokes a key."""
    return pb.RevokeApiKeyRequest(name=args.api_key)


def whoami_request() -> pb.WhoAmIRequest:
    """Return the request for who the caller is."""
    return pb.WhoAmIRequest()


def _name(text: str) -> str:
    """Return the name of a key, by its name, its id, or by a secret of it, which is not shown.

    Raises:
        ArgumentTypeError: it is none of them.
    """
    key = id_in(text) or text.removeprefix("keys/")
    if not re.fullmatch(r"[A-Za-z0-9]{1,64}", key):
        msg = "it is not the name of a key: give keys/ID, as gemini-backend keys list shows it"
        raise ArgumentTypeError(msg)
    return f"keys/{key}"


def _duration(text: str) -> timedelta:
    """Return a length of time.

    Raises:
        ArgumentTypeError: it is none.
    """
    found = _DURATION.fullmatch(text)
    if found is None or (given := timedelta(**{_UNITS[found[2]]: int(found[1])})) > timedelta(
        days=_MOST_DAYS
    ):
        msg = (
            f"{text!r} is not a time: give a number and s, m, h, d or w, such as 90d, at most "
            f"{_MOST_DAYS}d"
        )
        raise ArgumentTypeError(msg)
    return given


def _lifetime(text: str) -> timedelta:
    """Return how long a key is accepted.

    Raises:
        ArgumentTypeError: it is not above 0.
    """
    given = _duration(text)
    if not given:
        msg = "a key that expires at once is of no use: give a longer time, such as 90d"
        raise ArgumentTypeError(msg)
    return given


def _count(text: str) -> int:
    """Return a number from 0 on.

    Raises:
        ArgumentTypeError: it is none, or larger than the contract allows.
    """
    if not re.fullmatch(r"\d{1,9}", text):
        msg = f"{text!r} is not a number from 0 to 999,999,999; give one, or omit the option"
        raise ArgumentTypeError(msg)
    return int(text)
