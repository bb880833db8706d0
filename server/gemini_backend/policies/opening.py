"""How a stream is opened, and what it begins with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gemini_backend.policies.event_stream import EventStream, close

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


def started_of(answer: Any) -> Any:
    """Return the `started` that an answer begins with, whole or open, to be written into.

    None where it has none, or where the first event has been read.
    """
    if isinstance(answer, EventStream):
        if not answer.ahead:
            return None
        answer = answer.ahead[0]
    return answer.started if answer.HasField("started") else None


async def begun(events: AsyncIterator[Any] | EventStream) -> EventStream:
    """Return a stream when its first event is there, or its end.

    Raises:
        BaseException: what `events` raises before that; it is closed then.
    """
    if isinstance(events, EventStream):
        return events
    try:
        first = await events.__anext__()
    except StopAsyncIteration:
        return EventStream()
    except BaseException:
        await close(events)
        raise
    return EventStream([first], events)
