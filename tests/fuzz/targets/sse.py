"""Bodies of streams: how a body is cut into reads changes nothing of its events."""

from __future__ import annotations

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
    whole, cut = _read([body]), _read(pieces)
    assert whole == cut, f"{whole!r} in one read, {cut!r} in {pieces!r}"


def _read(pieces: list[bytes]) -> tuple[list[bytes], str]:
    reader, events = EventReader(_LIMIT), []
    try:
        for piece in pieces:
            events += reader.feed(piece)
        events += reader.finish()
    except ServiceError as error:
        return events, error.reason
    return events, ""
