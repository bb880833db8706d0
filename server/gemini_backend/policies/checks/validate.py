"""Nothing invalid goes further: the rules stand in the protos, for every language to check."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from google.protobuf.message import Message
from protovalidate import EvaluationError, Validator

from gemini_backend.clock import SystemClock
from gemini_backend.errors import InvalidRequest, Violation
from gemini_backend.policies.checks.conflicts import conflicts
from gemini_backend.policies.checks.outline import Element, Outline, is_simple
from gemini_backend.policies.checks.validated_cache import ValidatedCache, sketch_of
from gemini_backend.policies.relay import Hook
from gemini_backend.processing.message_census import MOST, too_many
from gemini_backend.processing.message_census import Element as Counted
from gemini_backend.processing.slices import Slices

if TYPE_CHECKING:
    from collections.abc import Awaitable, Sequence

    from protovalidate import Violation as BrokenRule

    from gemini_backend.call import Call
    from gemini_backend.clock import Clock
    from gemini_backend.policies.relay import Run

_SHOWN = 3
_LONGEST_KEY = 64
_MOST_FOUND = 256
# Where a rule's own words would say less than the caller needs.
_PLAIN_WORDS = {
    ("prompt", "string.pattern"): "is blank; set a text, or omit it and set contents",
}


class Validate(Hook):
    """Checks each request message by the rules of its proto; all violations come at once."""

    at_once = True

    def __init__(self, clock: Clock | None = None) -> None:
        """Make the validator; rules are compiled when a message is first seen.

        `clock` times the slices in which large messages are checked.
        """
        self._clock = clock or SystemClock()
        self._validator = Validator()
        self._valid = ValidatedCache()

    def begin(self, run: Run, /) -> Awaitable[None] | None:
        """Let a valid request pass.

        Raises:
            InvalidRequest: it is not valid.
        """
        if run.call.large:
            return self._check_large(run.call, run.request)
        request = run.request
        sketch = sketch_of(run.call, request)
        if sketch is None:
            self.check(request)
        elif not self._valid.knows(sketch.form, self):
            self.check(request)
            self._valid.learn(sketch.form, self)
        return None

    async def _check_large(self, call: Call, request: Message) -> None:
        """Do what `check` does, in slices; violations beyond the first hundreds are not looked for.

        Raises:
            InvalidRequest: with the violations, by field.
            TooManyParts: it is an item of a batch and has more parts than a request may have.
            DeadlinePassed: the call's deadline passed meanwhile.
        """
        found: list[Violation] = []
        async with Slices(call, self._clock) as slices:
            await _count_parts(request, slices)
            waiting = [Element("", request)]
            while waiting and len(found) < _MOST_FOUND:
                await slices.pause()
                path, message = waiting.pop()
                if not path or not is_simple(message):  # the whole is large
                    outline = Outline(message, path)
                    found += outline.too_long
                    waiting += reversed(outline.rest)
                    message = outline.message
                found += self._broken(message, path)
            for conflict in conflicts(request):
                found += () if conflict is None else (conflict,)
                await slices.pause()
        if found:
            raise _invalid(found)

    def check(self, request: Any) -> None:
        """Raise what is wrong with a message; a stream of messages is checked by its reader.

        Raises:
            InvalidRequest: with every violation, by field.
        """
        if not isinstance(request, Message):
            return
        found = self._broken(request)
        found += filter(None, conflicts(request))
        if found:
            raise _invalid(found)

    def _broken(self, message: Message, path: str = "") -> list[Violation]:
        """Return what breaks a rule in a message at a path.

        A rule fails where a duration or a time is outside of what its type allows.
        """
        try:
            return [_violation(rule, path) for rule in self._validator.collect_violations(message)]
        except EvaluationError as error:
            words = f"has a value outside of the range of its type: {error}; correct the value"
            return [Violation(path, words, "value.range")]

    def __repr__(self) -> str:
        """Name the policy."""
        return "Validate()"


async def _count_parts(request: Any, slices: Slices) -> None:
    """Refuse an item of a batch that has more parts than any other request may have.

    Raises:
        TooManyParts: it has.
    """
    parts = 0
    for turn in getattr(request, "contents", ()):
        parts += len(turn.parts)
        if parts > MOST:
            raise too_many(Counted.PART)
        await slices.pause()


def _invalid(violations: Sequence[Violation]) -> InvalidRequest:
    shown = "; ".join(
        f"{item.field}: {item.description}" if item.field else item.description
        for item in violations[:_SHOWN]
    )
    more = f"; and {len(violations) - _SHOWN} more" if len(violations) > _SHOWN else ""
    return InvalidRequest(f"{shown}{more}", violations=violations)


def _violation(broken: BrokenRule, outer: str = "") -> Violation:
    """Return what breaks a rule in a message that stands at the path `outer`."""
    rule = broken.proto
    inner = _path(rule.field)
    path = f"{outer}.{inner}" if outer and inner else outer or inner
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
