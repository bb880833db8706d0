"""A fault: one thing that goes wrong, by name, with its arguments."""

from __future__ import annotations

import difflib
from typing import Final

import msgspec

# Every fault, with the arguments that it heeds and what they are when left out. All heed `hop`.
FAULTS: Final = {
    # An error body instead of an answer; all heed `message`.
    "error": "code=500 status=INTERNAL message=",
    "invalid_argument": "",
    "api_key_invalid": "",
    "location": "",
    "billing": "",
    "service_disabled": "",
    "not_found": "",
    "rate_limit": "seconds=45.837906927",
    "rate_limit_day": "seconds=12.345678901",
    "rate_limit_help": "",
    "rate_limit_bare": "",
    "cancelled": "",
    "internal": "",
    "overloaded": "",
    "deadline": "",
    "html": "code=502",
    # Time.
    "first_byte_delay": "seconds=1",
    "chunk_delay": "seconds=0.1",
    "stall": "after=1",
    # The connection; `after` counts events that arrive whole.
    "reset": "after=-1 (before the headers)",
    "cut": "after=1",
    "cut_inside": "after=1",
    "split": "bytes=7",
    # The bytes.
    "garbage": "after=1 bytes=64",
    "stream_error": "after=1 form=event|raw code=503 status=UNAVAILABLE",
    "line_feeds": "",
    "multi_line": "",
    "comments": "",
    "gzip": "",
    # The answer.
    "empty": "kind=no_candidates|no_content|no_parts|empty_text",
    "blocked": "reason=SAFETY",
    "finish": "reason=SAFETY after=0",
    "unknown_fields": "",
    "oversized": "bytes=1048576",
    # The hops of a long answer of Gemini 4.
    "hop": "tokens=65536",
    "hop_empty": "",
    "hop_endless": "",
    "hop_no_token": "",
    "hop_same_token": "",
    "hop_after_stop": "",
    "hop_huge_token": "bytes=2097152",
}


class ScriptError(Exception):
    """A fault or a script that cannot be read; the text says how to mend it."""


class Fault(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One fault.

    Attributes:
        fault: Its name, a key of ``FAULTS``.
        after: How many events go out unharmed before it.
        seconds: A pause, or the ``retryDelay`` of a 429.
        code: The HTTP status.
        status: The canonical name of the status.
        message: The text of an error.
        reason: A block reason or finish reason; any text, known to Gemini or not.
        form: For ``stream_error``: ``event`` for an SSE event, ``raw`` for bare JSON.
        kind: For ``empty``: what is missing.
        bytes: A size in bytes.
        tokens: For ``hop``: how many tokens a hop holds.
        hop: The hop of a long answer that it strikes, from 1; none for each of them.
    """

    fault: str
    after: int | None = None
    seconds: float | None = None
    code: int | None = None
    status: str = ""
    message: str = ""
    reason: str = ""
    form: str = "event"
    kind: str = "no_candidates"
    bytes: int | None = None
    tokens: int | None = None
    hop: int | None = None

    def __post_init__(self) -> None:
        """Refuses what cannot be."""
        if self.fault not in FAULTS:
            near = difflib.get_close_matches(self.fault, FAULTS, 1)
            hint = f"; did you mean {near[0]!r}?" if near else f": use one of {', '.join(FAULTS)}"
            message = f"there is no fault {self.fault!r}{hint}"
            raise ValueError(message)
        if self.form not in ("event", "raw"):
            message = f"form must be 'event' or 'raw', not {self.form!r}"
            raise ValueError(message)
        if self.kind not in ("no_candidates", "no_content", "no_parts", "empty_text"):
            message = (
                f"kind must be no_candidates, no_content, no_parts or empty_text, not {self.kind!r}"
            )
            raise ValueError(message)


def from_header(text: str) -> list[Fault]:
    """The faults in a header: one JSON object, or a list of them, or a bare name.

    Raises:
        ScriptError: If it is neither.
    """
    bare = text.strip()
    if not bare.startswith(("{", "[")):
        return [from_directive(bare)]
    source = bare if bare.startswith("[") else f"[{bare}]"
    try:
        return msgspec.json.decode(source, type=list[Fault])
    except (msgspec.ValidationError, msgspec.DecodeError) as error:
        raise ScriptError(str(error)) from error


def from_directive(text: str) -> Fault:
    """The fault that a person wrote as ``NAME arg=value arg=value``.

    Raises:
        ScriptError: If there is no such fault or argument, or a value does not fit.
    """
    name, *arguments = text.split()
    raw: dict[str, str] = {"fault": name}
    for argument in arguments:
        key, equals, value = argument.partition("=")
        if not equals:
            message = f"{argument!r} is not an argument: write it as name=value"
            raise ScriptError(message)
        raw[key] = value
    try:
        return msgspec.convert(raw, Fault, strict=False)
    except msgspec.ValidationError as error:
        raise ScriptError(str(error)) from error
