"""`config set`, `history`, `rollback`: changes of a running server."""

from __future__ import annotations

import sys
from itertools import islice
from typing import TYPE_CHECKING

from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.json_format import MessageToDict

from gemini.backend.v1 import config_service_pb2 as pb
from gemini_backend.api.messages.config import message_of
from gemini_backend.audit import fit
from gemini_backend.commands.config.remote import asking, revisions
from gemini_backend.commands.config.values import json_line, shown, values_in
from gemini_backend.config import ConfigError, Given, Origin, OriginKind
from gemini_backend.config.reference import nearest, settings
from gemini_backend.config.values import convert_text
from gemini_backend_client.commands.command_line import DONE, UsageError
from gemini_backend_client.commands.table import table

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Sequence

_HEADINGS = ("REVISION", "TIME", "AUTHOR", "CHANGED", "COMMENT")
_WIDTH = 200
_HERE = Origin(OriginKind.UPDATE)


def set_values(args: Namespace) -> int:
    """Change settings, and print those that have changed.

    Raises:
        UsageError: a name or a value is wrong.
        GeminiBackendError: the server refuses, or cannot be asked.
    """
    given = _given(args.values)
    if not given and not args.reset:
        msg = "name what to change: PATH=VALUE, or --reset PATH"
        raise UsageError(msg)
    request = pb.UpdateConfigRequest(
        config=message_of(given),
        update_mask=FieldMask(paths=given) if given else None,
        reset_paths=args.reset,
        etag=args.etag,
        validate_only=args.validate_only,
        comment=args.comment,
    )
    with asking(args) as ask:
        answer = ask("UpdateConfig", request)
    if args.validate_only and not args.json:
        sys.stdout.write("the change is valid and was not made\n")
    _report(args, answer, ())
    return DONE


def rollback(args: Namespace) -> int:
    """Restore a revision, and print the settings that have changed.

    Raises:
        GeminiBackendError: the server refuses, or cannot be asked.
    """
    request = pb.RollbackConfigRequest(revision=args.revision, etag=args.etag, comment=args.comment)
    with asking(args) as ask:
        answer = ask("RollbackConfig", request)
    _report(args, answer, answer.restart_paths)
    return DONE


def history(args: Namespace) -> int:
    """Print the revisions, latest first.

    Raises:
        UsageError: the number is wrong.
        GeminiBackendError: the server refuses, or cannot be asked.
    """
    if args.limit < 1:
        msg = f"--limit is {args.limit} and must be at least 1; change it"
        raise UsageError(msg)
    with asking(args) as ask:
        found = list(islice(revisions(ask), args.limit))
    if args.json:
        for one in found:
            one.ClearField("config")
            told = MessageToDict(
                one, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
            )
            numbers = {"revision": one.revision, "rollback_of": one.rollback_of}
            sys.stdout.write(json_line(told | numbers))
    else:
        sys.stdout.write(table([_HEADINGS, *map(_row, found)], {"REVISION"}))
    return DONE


def _given(values: list[str]) -> dict[str, Given]:
    """Return the values of `PATH=VALUE`, by path.

    Raises:
        UsageError: a name or a value is wrong, or of a secret, which no command line may have.
    """
    given: dict[str, Given] = {}
    problems: list[str] = []
    for one in values:
        path, equals, text = one.partition("=")
        setting = settings().get(path)
        if not equals:
            problems.append(f"{fit(one, _WIDTH)} has no value; write PATH=VALUE")
        elif setting is None:
            words = f"{fit(path, _WIDTH)} is not a setting{nearest(path, settings())}"
            problems.append(words)
        elif setting.secret:
            problems.append(
                f"{path} is a secret and cannot be set by ConfigService; set it in the "
                f"configuration file or in {setting.variable}"
            )
        else:
            try:
                given[path] = Given(convert_text(setting, text), _HERE)
            except ConfigError as error:
                problems.append(str(error))
    if problems:
        raise UsageError("; ".join(problems))
    return given


def _report(
    args: Namespace,
    answer: pb.UpdateConfigResponse | pb.RollbackConfigResponse,
    stay: Sequence[str],
) -> None:
    values = values_in(answer.config)
    changed = {path: values.get(path) for path in answer.changed_paths}
    if args.json:
        told = {"revision": answer.revision, "etag": answer.etag, "changed": changed}
        sys.stdout.write(json_line(told | ({"needs_restart": list(stay)} if stay else {})))
        return
    for path, value in changed.items():
        sys.stdout.write(f"{path} = {shown(value)}\n")
    if not changed:
        sys.stdout.write("nothing has changed\n")
    for path in stay:
        sys.stdout.write(f"{path} stays as it is: it is read only at the start\n")
    sys.stdout.write(f"revision {answer.revision}\n")


def _row(one: pb.ConfigRevision) -> tuple[str, ...]:
    comment = f"rollback of {one.rollback_of}" if one.rollback_of else ""
    comment = "; ".join(filter(None, (comment, one.comment)))
    return (
        str(one.revision),
        one.create_time.ToDatetime().isoformat(sep=" ", timespec="seconds"),
        fit(one.author, _WIDTH) or "-",
        fit(", ".join(one.changed_paths), _WIDTH) or "-",
        fit(comment, _WIDTH) or "-",
    )
