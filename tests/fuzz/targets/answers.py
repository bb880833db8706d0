"""JSON that a model API sends: an answer, or a typed failure, whatever it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gemini_backend.api.requests.status import status_of
from gemini_backend.errors import ServiceError
from gemini_backend.upstream.gemini.answer import unary_answer
from gemini_backend.upstream.gemini.answer.stream_answer import AnswerStream
from gemini_backend.upstream.gemini.failure.classification import Failures
from gemini_backend.upstream.gemini.requests.listing import Listing
from tests.fuzz.draws import Draws

if TYPE_CHECKING:
    from collections.abc import Callable

_MODEL = "models/m"
_STATUSES = (400, 401, 403, 404, 408, 409, 413, 418, 429, 499, 500, 502, 503, 504, 0, 200, 999)


def check(data: bytes) -> None:
    """Read a body in one of the ways in which bodies are read."""
    draws = Draws(data)
    way = draws.one_of(_WAYS)
    try:
        way(draws)
    except ServiceError as error:
        failure = status_of(error)
    else:
        return
    assert failure.SerializeToString()


def _whole(draws: Draws) -> None:
    continued = draws.flag()
    made = unary_answer.response(draws.rest(), _MODEL, Failures(), continued=continued)
    assert made.SerializeToString() is not None


def _streamed(draws: Draws) -> None:
    stream = AnswerStream(_MODEL, Failures(), merge=draws.flag(), continued=draws.flag())
    events = []
    for payload in draws.rest().split(b"\n\n"):
        events += stream.feed([payload])
    if stream.failure is not None:
        raise stream.failure
    events += stream.finish()
    for event in events:
        event.SerializeToString()


def _refused(draws: Draws) -> None:
    status, header = draws.one_of(_STATUSES), draws.text(16)
    kind = draws.one_of(("application/json", "text/html", ""))
    raise Failures().from_reply(status, draws.rest(), kind, _MODEL, lambda _name: header)


def _counted(draws: Draws) -> None:
    unary_answer.token_count(draws.rest(), _MODEL, Failures())


def _listed(draws: Draws) -> None:
    Listing().take(draws.rest())


_WAYS: tuple[Callable[[Draws], None], ...] = (_whole, _streamed, _refused, _counted, _listed)
