"""Nothing invalid goes further: the rules stand in the protos, for every language to check."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from google.protobuf.message import Message
from protovalidate import Validator

from gemini_backend.errors import InvalidRequest, Violation
from gemini_backend.policies.checks.conflicts import conflicts
from gemini_backend.policies.checks.validated_cache import ValidatedCache, small_prompt

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from protovalidate import Violation as BrokenRule

    from gemini_backend.call import Call
    from gemini_backend.policies.base import Stream, Unary

_SHOWN = 3
_LONGEST_KEY = 64
# Where a rule's own words would say less than the caller needs.
_PLAIN_WORDS = {
    ("prompt", "string.pattern"): "is blank; set a text, or omit it and set contents",
}


class Validate:
    """Checks each request message by the rules of its proto; all violations come at once."""

    def __init__(self) -> None:
        """Make the validator; rules are compiled when a message is first seen."""
        self._validator = Validator()
        self._valid = ValidatedCache()

    async def unary(self, call: Call, request: Any, proceed: Unary[Any, Any], /) -> Any:
        """Answer a valid request; raise InvalidRequest on any other."""
        self.check(request)
        return await proceed(call, request)

    def stream(self, call: Call, request: Any, proceed: Stream[Any, Any], /) -> AsyncIterator[Any]:
        """Answer a valid request; raise InvalidRequest on any other."""
        self.check(request)
        return proceed(call, request)

    def check(self, request: Any) -> None:
        """Raise what is wrong with a message; a stream of messages is checked by its reader.

        Raises:
            InvalidRequest: with every violation, by field.
        """
        if not isinstance(request, Message):
            return
        data, rules = small_prompt(request), type(request)
        if self._valid.knows(data, rules):
            return
        found = [_violation(rule) for rule in self._validator.collect_violations(request)]
        found += conflicts(request)
        if found:
            raise _invalid(found)
        self._valid.learn(data, rules)

    def __repr__(self) -> str:
        """Name the policy."""
        return "Validate()"


def _invalid(violations: Sequence[Violation]) -> InvalidRequest:
    shown = "; ".join(
        f"{item.field}: {item.description}" if item.field else item.description
        for item in violations[:_SHOWN]
    )
    more = f"; and {len(violations) - _SHOWN} more" if len(violations) > _SHOWN else ""
    return InvalidRequest(f"{shown}{more}", violations=violations)


def _violation(broken: BrokenRule) -> Violation:
    rule = broken.proto
    path = _path(rule.field)
    words = _PLAIN_WORDS.get((path, rule.rule_id), rule.message)
    return Violation(path, words, rule.rule_id)


def _path(field: Any) -> str:
    """Return a path such as `contents[3].parts[0].text`; empty for the message itself."""
    path = ""
    for element in field.elements if field is not None else ():
        path += f".{element.field_name}" if path else element.field_name
        subscript = element.subscript
        if subscript is not None:
            key = str(subscript.value)  # of a map; as long as its caller pleases
            path += f"[{key if len(key) <= _LONGEST_KEY else f'{key[: _LONGEST_KEY - 1]}…'}]"
    return path
