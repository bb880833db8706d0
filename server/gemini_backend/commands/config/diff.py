"""`config diff`: how a running server differs from file and environment, or two revisions."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from gemini.backend.v1 import config_service_pb2 as pb
from gemini_backend.audit import fit
from gemini_backend.commands.config.here import sources
from gemini_backend.commands.config.remote import asking, revisions
from gemini_backend.commands.config.values import json_line, shown, values_in, values_of
from gemini_backend.config import ConfigError
from gemini_backend_client.commands.command_line import DONE, CommandError, UsageError

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Iterator

    from gemini_backend.commands.config.remote import Ask

_MOST = 2
_WIDTH = 200


def diff(args: Namespace) -> int:
    """Print each setting that differs; secrets are compared by whether they are set.

    Raises:
        UsageError: arguments do not go together, or the configuration here is invalid.
        CommandError: the server has no such revision.
        GeminiBackendError: the server cannot be asked.
    """
    if len(args.revisions) > _MOST or (args.revisions and args.config):
        msg = "compare file and environment (--config), or one or two revisions"
        raise UsageError(msg)
    with asking(args) as ask:
        told = list(_of_revisions(ask, args.revisions) if args.revisions else _of_here(ask, args))
    for one in told:
        sys.stdout.write(json_line(one) if args.json else _line(one))
    if not told and not args.json:
        sys.stdout.write("no difference\n")
    return DONE


def _of_here(ask: Ask, args: Namespace) -> Iterator[dict[str, object]]:
    """Yield what differs between the server and what the sources say here."""
    try:
        given = sources(args).given
    except ConfigError as error:
        raise UsageError(str(error)) from error
    server = ask("GetConfig", pb.GetConfigRequest())
    infos = {one.path: one for one in server.values}
    there, here = values_in(server.config), values_of(given)
    for path in sorted(there):
        if there[path] == here[path]:
            continue
        info, origin = infos[path], given[path].origin
        yield {
            "path": path,
            "server": there[path],
            "server_source": _source(
                pb.ConfigOrigin.Name(info.origin).removeprefix("CONFIG_ORIGIN_"),
                info.origin_detail,
            ),
            "here": here[path],
            "here_source": _source(origin.kind.value, origin.detail),
            "live": info.live,
        }


def _of_revisions(ask: Ask, numbers: list[int]) -> Iterator[dict[str, object]]:
    """Yield what differs between two revisions, or one and the latest."""
    found = {one.revision: one for one in revisions(ask)}
    one, *others = numbers
    other = others[0] if others else max(found)
    for number in (one, other):
        if number not in found:
            msg = (
                f"there is no revision {number}; use one from {min(found)} to {max(found)} "
                "(gemini-backend config history lists them)"
            )
            raise CommandError(msg)
    before, after = values_in(found[one].config), values_in(found[other].config)
    for path in sorted(before):
        if before[path] != after[path]:
            yield {"path": path, f"revision_{one}": before[path], f"revision_{other}": after[path]}


def _source(kind: str, detail: str) -> str:
    kind = kind.lower().replace("_", " ")
    return f"{kind}, {detail}" if detail else kind


def _line(one: dict[str, object]) -> str:
    if "server" not in one:
        path, before, after = one.values()
        return f"{path}: {shown(before)} -> {shown(after)}\n"
    there = f"{shown(one['server'])} on the server ({fit(str(one['server_source']), _WIDTH)})"
    here = f"{shown(one['here'])} here ({fit(str(one['here_source']), _WIDTH)})"
    return f"{one['path']}: {there}, {here}{'' if one['live'] else '; needs a restart'}\n"
