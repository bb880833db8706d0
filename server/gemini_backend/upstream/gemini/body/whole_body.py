"""A body that is there as a whole, as the payloads that it holds."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from gemini_backend.errors import MalformedAnswer, StreamCut
from gemini_backend.sizes import KIB
from gemini_backend.upstream.gemini.body import decode
from gemini_backend.upstream.gemini.body.sse import EventReader

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gemini_backend.upstream.gemini.translation import json_to_proto

_SLICE = 64 * KIB
_RAW = msgspec.json.Decoder(msgspec.Raw)


def payloads_of(body: bytes) -> list[bytes]:
    """Return the payloads of a body of any form, however it is labelled.

    Raises:
        StreamCut: it ends in the middle of one.
    """
    reader = EventReader(len(body))
    found = []
    for at in range(0, len(body), _SLICE):
        found += reader.feed(body[at : at + _SLICE])
    found += reader.finish()
    if reader.half:
        msg = f"the answer's body of {len(body)} bytes is incomplete; retry"
        raise StreamCut(msg)
    return found


def object_of(body: bytes) -> json_to_proto.Object:
    """Return the one JSON object that a body holds, whatever its form.

    Raises:
        MalformedAnswer: there is none, or more than one.
        StreamCut: the body ends in the middle of it.
    """
    try:
        found = decode.objects(body)
    except decode.REFUSED:
        found = [one for payload in payloads_of(body) for one in decode.any_objects(payload)]
    if len(found) != 1:
        msg = f"the model API sent {len(found)} JSON objects instead of one; retry"
        raise MalformedAnswer(msg)
    return found[0]


def is_whole(pieces: Sequence[bytes]) -> bool:
    """Say whether a body is whole though its framing has not ended: JSON says where it ends."""
    if not pieces or not pieces[-1].rstrip().endswith((b"}", b"]")):
        return False
    try:
        _RAW.decode(b"".join(pieces))
    except decode.REFUSED:
        return False
    return True
