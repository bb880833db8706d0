"""Function calls whose arguments came in pieces, as the whole calls that they are.

A model that is asked to stream arguments sends a call's name, then pieces of its arguments, each
with its path, then an empty call. As part of a conversation the model takes whole calls only.
"""

from __future__ import annotations

import re
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import msgspec

from gemini.backend.v1.content_pb2 import FunctionCall, PartialArg
from gemini_backend.processing.json_objects import struct_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from gemini.backend.v1.content_pb2 import Part

_STEP = re.compile(r"\.([^.\[\]]+)|\[([0-9]+)\]|\['([^'\\]*)'\]|\[\"([^\"\\]*)\"\]")
_WHOLE = 2.0**53  # up to here a double holds every whole number
_OF_A_PIECE = frozenset({"name", "id", "args", "args_json", "partial_args", "will_continue"})


class _OddPieceError(Exception):
    """A piece whose place in the arguments cannot be told."""


def with_whole_calls(parts: Sequence[Part]) -> list[Part]:
    """Return parts with each call that came in pieces, or as one piece, as a whole one.

    Pieces that do not come to an end, or that say something that a whole call has no place for,
    stay as they are.
    """
    made: list[Part] = []
    at = 0
    while at < len(parts):
        end = _end_of_call(parts, at)
        whole = _joined(parts[at:end]) if _are_pieces(parts[at:end]) else None
        made += parts[at:end] if whole is None else [whole]
        at = end
    return made


def _end_of_call(parts: Sequence[Part], begin: int) -> int:
    """Return the place behind the last piece of the call that begins here."""
    at = begin
    while at < len(parts) and parts[at].HasField("function_call"):
        call = parts[at].function_call
        if at > begin and call.name:
            break  # another call, while this one has not come to its end
        at += 1
        if not call.will_continue:
            return at
    return begin + 1


def _are_pieces(parts: Sequence[Part]) -> bool:
    """Say whether parts are the pieces of one call, to the last one."""
    last = parts[-1].function_call
    return not last.will_continue and (len(parts) > 1 or bool(last.partial_args))


def _joined(pieces: Sequence[Part]) -> Part | None:
    """Return the one part that these come to; None where something would be lost."""
    whole = type(pieces[0])()
    whole.CopyFrom(pieces[0])
    for piece in pieces:
        call = piece.function_call
        fields = {field.name for field, _ in call.ListFields()}
        others = {field.name for field, _ in piece.ListFields()} - {"function_call"}
        if not fields <= _OF_A_PIECE or (piece is not pieces[0] and others - {"thought_signature"}):
            return None
        whole.thought_signature = piece.thought_signature or whole.thought_signature
    if not whole.thought_signature:
        whole.ClearField("thought_signature")
    try:
        args = _arguments(piece.function_call for piece in pieces)
    except _OddPieceError:
        return None
    text = msgspec.json.encode(args).decode()
    first = pieces[0].function_call
    whole.function_call.CopyFrom(FunctionCall(name=first.name, args_json=text))
    identity = next((one.function_call.id for one in pieces if one.function_call.id), "")
    if identity:
        whole.function_call.id = identity
    struct = struct_of(text)
    if struct is not None:
        whole.function_call.args.update(struct)
    return whole


def _arguments(calls: Iterable[FunctionCall]) -> dict[str, Any]:
    args: dict[str, Any] = {}
    open_at = ""  # the path of a text that goes on
    for call in calls:
        if call.args_json:
            args.update(msgspec.json.decode(call.args_json, type=dict[str, msgspec.Raw]))
        elif call.HasField("args"):
            raise _OddPieceError  # an upstream's own, without its text
        for piece in call.partial_args:
            if piece.HasField("extra") or piece.extra_json:
                raise _OddPieceError
            _put(args, piece, goes_on=piece.json_path == open_at)
            open_at = piece.json_path if piece.will_continue else ""
    return args


def _put(args: dict[str, Any], piece: PartialArg, *, goes_on: bool) -> None:
    path = _steps(piece.json_path)
    if not path or not isinstance(path[0], str):
        raise _OddPieceError
    holder: Any = args
    for step, following in pairwise(path):
        holder = _inner(holder, step, {} if isinstance(following, str) else [])
    before = _held(holder, path[-1]) if goes_on else None
    value = _value(piece)
    if isinstance(before, str) and isinstance(value, str):
        value = before + value
    _set(holder, path[-1], value)


def _steps(path: str) -> list[str | int]:
    steps: list[str | int] = []
    at = 1
    while path[:1] == "$" and at < len(path):
        match = _STEP.match(path, at)
        if match is None:
            raise _OddPieceError
        name = next((found for found in match.group(1, 3, 4) if found is not None), None)
        steps.append(int(match[2]) if name is None else name)
        at = match.end()
    return steps


def _value(piece: PartialArg) -> Any:
    kind = piece.WhichOneof("delta")
    if kind is None:
        return ""  # the end of a text that has been sent
    if kind == "null_value":
        return None
    value = getattr(piece, kind)
    whole = kind == "number_value" and float(value).is_integer() and abs(value) <= _WHOLE
    return int(value) if whole else value


def _inner(holder: Any, step: str | int, new: Any) -> Any:
    found = _held(holder, step)
    if found is None:
        _set(holder, step, new)
        return new
    return found


def _held(holder: Any, step: str | int) -> Any:
    if isinstance(holder, dict) and isinstance(step, str):
        return holder.get(step)
    if isinstance(holder, list) and isinstance(step, int):
        return holder[step] if step < len(holder) else None
    raise _OddPieceError


def _set(holder: Any, step: str | int, value: Any) -> None:
    if isinstance(holder, list) and step == len(holder):
        holder.append(value)
        return
    _held(holder, step)
    if isinstance(holder, list) and isinstance(step, int) and step > len(holder):
        raise _OddPieceError
    holder[step] = value
