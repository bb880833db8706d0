"""Bodies of streams: how a body is cut into reads changes nothing of its events."""

from __future__ import annotations

import json

from gemini_backend.errors import ServiceError
from gemini_backend.upstream.gemini.body.sse import EventReader
from tests.fuzz.draws import Draws

_LIMIT = 512


def check(data: bytes) -> None:
    """Read a body in one piece and in several: the same events, and the same failure if any."""
    draws = Draws(data)
    cuts = draws.data(8)
    body = draws.rest()
    pieces = Draws(cuts).pieces(body)
    (whole, failed), (cut, failed_cut) = _read([body]), _read(pieces)
    if failed or failed_cut:
        # a line that is not whole is bounded with its name and a whole one without, so that one
        # may pass where the other does not; real reads are far below the bound
        shorter, longer = sorted((whole, cut), key=len)
        assert shorter == longer[: len(shorter)], f"{whole!r} and {cut!r} of {pieces!r}"
    else:
        assert whole == cut, f"{whole!r} in one read, {cut!r} in {pieces!r}"


def _read(pieces: list[bytes]) -> tuple[list[object], str]:
    reader = EventReader(_LIMIT)
    events: list[bytes] = []
    try:
        for piece in pieces:
            events += reader.feed(piece)
        events += reader.finish()
    except ServiceError as error:
        return _bare(events), error.reason
    return _bare(events), ""


def _bare(events: list[bytes]) -> list[object]:
    """Return what events say: of white space between lines only a bounded part is kept."""
    return [_said(event) for event in events]


def _said(event: bytes) -> object:
    try:
        return repr(json.loads(event))
    except (ValueError, RecursionError):
        return b"".join(event.split())
