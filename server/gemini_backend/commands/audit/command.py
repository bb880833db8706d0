"""The command: what it is asked for, and what it prints."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gemini.backend.v1 import audit_service_pb2 as pb
from gemini_backend.audit import fit, unavailable
from gemini_backend.audit.files import lines_of, place_of
from gemini_backend.commands.audit.doors import config_of, here, there
from gemini_backend.commands.on_this_machine import add_actions
from gemini_backend.errors import ServiceError
from gemini_backend_client.commands.command_line import (
    DONE,
    FAILED,
    UsageError,
    add_connection_arguments,
    run_reported,
)
from gemini_backend_client.commands.table import table

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace
    from collections.abc import Iterator

    from gemini_backend.commands.audit.doors import Ask

NAME = "gemini-backend audit"
_ACTIONS = {
    "list": "list entries, newest first",
    "verify": "verify the whole log; exit with 1 if it was altered",
    "export": "print every line of the log of this machine unchanged, oldest first",
}
_EXAMPLES = {
    "list": "list --action KeyService --limit 20",
    "verify": "verify --config gemini-backend.toml",
    "export": "export > audit.jsonl",
}
_HEADINGS = ("SEQUENCE", "TIME", "WHO", "ACTION", "TARGET", "CODE", "DETAILS")
_PAGE, _WIDTH = 1000, 200


def add_arguments(parser: ArgumentParser) -> None:
    """Declare the actions, each with its own arguments."""
    for action, one in add_actions(parser, NAME, _ACTIONS, _EXAMPLES):
        one.add_argument(
            "--config", type=Path, metavar="FILE", help="TOML file with settings, for state.dir"
        )
        if action == "list":
            one.add_argument(
                "--limit", type=_count, default=50, metavar="N", help="so many (default: 50)"
            )
            one.add_argument("--action", default="", help="only where the action has this text")
            one.add_argument("--tenant", default="", help="only of this tenant")
        if action != "export":
            one.add_argument("--json", action="store_true", help="print everything as JSON")
            add_connection_arguments(one, otherwise="none; reads state.dir of this machine")


def run(args: Namespace) -> int:
    """Do as asked.

    Returns:
        0 when done, 1 when it failed or the log was altered, 2 for wrong use, 130 after Ctrl-C.
    """
    return run_reported(NAME, lambda: _run(args))


def _run(args: Namespace) -> int:
    act = getattr(args, "act", None)
    if act is None:
        msg = f"say what to do, one of {', '.join(_ACTIONS)}; {NAME} list --help has more"
        raise UsageError(msg)
    try:
        if act == "export":
            return _export(args)
        ask = there(args) if args.target else here(args)
        return _list(args, ask) if act == "list" else _verify(args, ask)
    except ServiceError as error:
        sys.stderr.write(f"{NAME}: {error.message}\n")
        return FAILED


def _list(args: Namespace, ask: Ask) -> int:
    entries = _entries(args, ask)
    if args.json:
        for entry in entries:
            sys.stdout.write(json.dumps(_as_json(entry), ensure_ascii=False) + "\n")
    else:
        sys.stdout.write(table([_HEADINGS, *map(_row, entries)], {"SEQUENCE"}))
    return DONE


def _entries(args: Namespace, ask: Ask) -> Iterator[pb.AuditEntry]:
    left = args.limit
    request = pb.ListAuditEntriesRequest(action=args.action, tenant=args.tenant)
    while left > 0:
        request.page_size = min(left, _PAGE)
        page = ask("ListAuditEntries", request)
        yield from page.entries
        left -= len(page.entries)
        request.page_token = page.next_page_token
        if not request.page_token:
            return


def _verify(args: Namespace, ask: Ask) -> int:
    found = ask("VerifyAuditLog", pb.VerifyAuditLogRequest())
    if args.json:
        told = {
            "intact": found.intact,
            "entry_count": found.entry_count,
            "expected_count": found.expected_count,
            "defects": list(found.defects),
        }
        sys.stdout.write(json.dumps(told, ensure_ascii=False) + "\n")
    elif found.intact:
        sys.stdout.write(f"the audit log is intact: {found.entry_count} entries\n")
    else:
        for defect in found.defects:
            sys.stdout.write(f"{fit(defect, _WIDTH)}\n")
        counts = f"{found.entry_count} lines and {found.expected_count} expected entries"
        sys.stdout.write(f"the audit log was altered: {counts}\n")
    return DONE if found.intact else FAILED


def _export(args: Namespace) -> int:
    place = place_of(config_of(args))
    try:
        for number in place.numbers():
            for line in lines_of(place, number, 0, place.size(number)):
                sys.stdout.buffer.write(line.data)
    except OSError as error:
        if error.filename is None:
            raise  # of standard output
        raise unavailable(error) from error
    sys.stdout.flush()
    return DONE


def _row(entry: pb.AuditEntry) -> tuple[str, ...]:
    who = entry.tenant and f"{entry.tenant}/"
    facts = {"reason": entry.reason, "peer": entry.peer, **dict(sorted(entry.details.items()))}
    texts = (
        f"{who}{entry.principal}",
        entry.action,
        entry.target,
        entry.code or "begun",
        ", ".join(f"{name}={value}" for name, value in facts.items() if value),
    )
    time = entry.time.ToDatetime().isoformat(sep=" ", timespec="seconds")
    return (str(entry.sequence), time, *(fit(text, _WIDTH) or "-" for text in texts))


def _as_json(entry: pb.AuditEntry) -> dict[str, Any]:
    names = ("tenant", "principal", "peer", "action", "target", "code", "reason")
    return {
        "sequence": entry.sequence,
        "time": entry.time.ToJsonString(),
        **{name: getattr(entry, name) for name in names},
        "details": dict(sorted(entry.details.items())),
    }


def _count(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError
    return number
