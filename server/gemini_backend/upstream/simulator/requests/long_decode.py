"""Long decode of Gemini 4: which hop of an answer a request is for, and the token of the next one.

A token says how many hops and how many tokens of text there were before. It is good for one model
and one request alone, whatever its limit of output tokens.
"""

from __future__ import annotations

import base64
import binascii
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from gemini_backend.sizes import MIB
from gemini_backend.upstream.simulator.errors import invalid
from gemini_backend.upstream.simulator.requests.json_reader import read_bytes
from gemini_backend.upstream.simulator.wire import digest, encode

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gemini_backend.upstream.simulator.errors import ApiError
    from gemini_backend.upstream.simulator.faults import Fault
    from gemini_backend.upstream.simulator.models import Model
    from gemini_backend.upstream.simulator.wire import Json

HUGE_BYTES = 2 * MIB
_FIELDS = struct.Struct(">16sHI")
_SEAL = 8
_SIZE = _FIELDS.size + _SEAL


@dataclass(frozen=True, slots=True)
class Hop:
    """One hop.

    Attributes:
        number: Which one it is, from 1.
        offset: Tokens of text that the hops before it held.
        size: Most tokens that it holds, thoughts included; 0 if the model gives all at once.
        faults: The names of the faults that it heeds.
        seed: Sixteen bytes that depend on model and request.
        token: The token that it was asked for with; empty for the first one.
        padding: Bytes that the next token is made longer by.
    """

    number: int = 1
    offset: int = 0
    size: int = 0
    faults: frozenset[str] = frozenset()
    seed: bytes = bytes(16)
    token: str = ""
    padding: int = 0

    @property
    def first(self) -> bool:
        """Whether the answer begins with it."""
        return self.number == 1

    def fields(self, used: int, finish: str) -> Json:
        """What the candidate of a hop that held ``used`` tokens of text says of the next hop."""
        ends = finish != "CONTINUATION"
        if "hop_no_token" in self.faults or (ends and "hop_after_stop" not in self.faults):
            return {}
        if "hop_same_token" in self.faults and self.token:
            return {"continuationToken": self.token}
        body = _FIELDS.pack(self.seed, self.number + 1, self.offset + used)
        raw = body + _seal(body) + bytes(max(0, self.padding - _SIZE))
        return {"continuationToken": base64.b64encode(raw).decode()}


WHOLE = Hop()
"""An answer that comes all at once."""


def hop_of(model: Model, request: Json, size: int, faults: Sequence[Fault]) -> Hop:
    """The hop that a request is for.

    Args:
        model: Who is asked.
        request: The decoded request.
        size: Tokens of a hop, where no fault says otherwise; 0 for the model's own limit.
        faults: What goes wrong with the request.

    Raises:
        ApiError: 400 for a token that was not given, was given for something else, or that the
            model knows nothing of.
    """
    token = request.get("continuationToken", "")
    if not model.long_decode:
        if token:
            raise _bad_token()
        return WHOLE
    seed = digest("hop", model.name, encode(essence(request)))[:16]
    by_name = {fault.fault: fault for fault in faults}
    asked = by_name.get("hop")
    most = (asked.tokens if asked else None) or size or model.output_limit
    huge = by_name.get("hop_huge_token")
    padding = 0 if huge is None else (huge.bytes or HUGE_BYTES)
    number, offset = _read(token, seed) if token else (1, 0)
    return Hop(number, offset, most, frozenset(by_name), seed, token, padding)


def essence(request: Json) -> Json:
    """What must be the same for a token to be good: all but itself and the limit of tokens."""
    kept = {name: value for name, value in request.items() if name != "continuationToken"}
    if "maxOutputTokens" in kept.get("generationConfig", {}):
        config = dict(kept["generationConfig"])
        del config["maxOutputTokens"]
        kept["generationConfig"] = config
    return {name: value for name, value in kept.items() if value != {}}


def number_of(body: bytes) -> int:
    """Which hop the bytes of a request ask for, from 1, by its token alone."""
    try:
        peeked = msgspec.json.decode(body, type=_Peek)
        token = peeked.continuation_token or peeked.snake
        return int(_FIELDS.unpack(read_bytes(token)[: _FIELDS.size])[1]) if token else 1
    except (msgspec.DecodeError, UnicodeDecodeError, binascii.Error, struct.error, RecursionError):
        return 1


class _Peek(msgspec.Struct):
    continuation_token: str = msgspec.field(default="", name="continuationToken")
    snake: str = msgspec.field(default="", name="continuation_token")


def _read(token: str, seed: bytes) -> tuple[int, int]:
    raw = read_bytes(token)
    body = raw[: _FIELDS.size]
    if len(raw) < _SIZE or raw[_FIELDS.size : _SIZE] != _seal(body):
        raise _bad_token()
    owner, number, offset = _FIELDS.unpack(body)
    if owner != seed:
        raise _bad_token()
    return number, offset


def _bad_token() -> ApiError:
    return invalid("Continuation token is not valid.")


def _seal(body: bytes) -> bytes:
    return digest("continuation", body)[:_SEAL]
