"""What takes long of an answer, done so that others are served meanwhile.

A flood of events is worked on a few hundred at a time. A large event, such as one with an image,
and a large body are read in a thread: most of that is done by code that takes milliseconds at a
time, and between two such steps the event loop goes on.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, ParamSpec, TypeVar

from gemini_backend.sizes import KIB

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gemini.backend.v1.execute_service_pb2 import ExecuteResponse
    from gemini_backend.upstream.gemini.answer.stream_answer import AnswerStream
    from gemini_backend.upstream.gemini.body import EventReader

P = ParamSpec("P")
R = TypeVar("R")

AT_A_TIME: Final = 256
"""Events that are worked on at one go: a few milliseconds."""
READ: Final = 64 * KIB
"""Bytes of a body that are cut into events at one go."""
LARGE: Final = 256 * KIB
"""Bytes of an event or a body from which on it is read in a thread."""


async def cut(reader: EventReader, read: bytes) -> list[bytes]:
    """Return the events that a long read completes.

    Raises:
        AnswerTooLarge: an event has outgrown its bound.
    """
    found = []
    for begin in range(0, len(read), READ):
        found += reader.feed(read[begin : begin + READ])
        await asyncio.sleep(0)
    return found


def are_many(payloads: Sequence[bytes]) -> bool:
    """Say whether events take long: many, or a large one, which only the first of a read can be."""
    return len(payloads) > AT_A_TIME or (len(payloads) > 0 and len(payloads[0]) > LARGE)


async def told(answer: AnswerStream, payloads: Sequence[bytes]) -> list[ExecuteResponse]:
    """Return what the caller gets to see of many events, or of large ones; see `feed`."""
    events = []
    for begin in range(0, len(payloads), AT_A_TIME):
        some = payloads[begin : begin + AT_A_TIME]
        if any(len(payload) > LARGE for payload in some):
            events += await asyncio.to_thread(answer.feed, some)
        else:
            events += answer.feed(some)
            await asyncio.sleep(0)
        if answer.failure is not None:
            break
    return events


async def aside(body: bytes, read: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Return what `read` makes of a body, in a thread where it is large."""
    if len(body) <= LARGE:
        return read(*args, **kwargs)
    return await asyncio.to_thread(read, *args, **kwargs)
