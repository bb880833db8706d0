"""Watches that note what they are told, and small sources of events."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from gemini_backend.policies.event_stream import EventStream, Watch
from gemini_backend.policies.opening import begun

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class Noted(Watch):
    """Notes all that it is told, and does what a test wants of it."""

    def __init__(self, name: str, notes: list[str], **does: Any) -> None:
        self.name, self.notes, self.does = name, notes, does

    def first(self, event: Any, /) -> None:
        self.notes.append(f"{self.name} first {event}")

    def event(self, event: Any, _delta: Any, /) -> Any:
        self.notes.append(f"{self.name} {event}")
        made = self.does.get(f"at_{event}")
        if isinstance(made, Exception):
            raise made
        return made() if callable(made) else made

    def end(self, error: BaseException | None, /) -> BaseException | None:
        self.notes.append(f"{self.name} end {type(error).__name__ if error else 'well'}")
        return self.does.get("end")


class Timer(Watch):
    """Says that it was the one who cancelled, if it was."""

    def __init__(self, why: Exception | None) -> None:
        self.why, self.waits, self.ended = why, 0, 0

    def waiting(self, _reader: Any, /) -> None:
        self.waits += 1

    def cancelled(self) -> BaseException | None:
        return self.why

    def end(self, _error: BaseException | None, /) -> None:
        self.ended += 1


class Readable:
    """A source that can be read on after a read was cancelled."""

    resumable = True

    def __init__(self) -> None:
        self.queue: asyncio.Queue[Any] = asyncio.Queue()
        self.closed = 0

    async def __anext__(self) -> Any:
        return await self.queue.get()

    def __aiter__(self) -> Any:
        return self

    async def aclose(self) -> None:
        self.closed += 1


async def letters(text: str = "abc", error: Exception | None = None) -> AsyncIterator[str]:
    for letter in text:
        yield letter
    if error is not None:
        raise error


async def rest(stream: EventStream) -> list[Any]:
    found = []
    while (event := await stream.next()) is not None:
        found.append(event)
    return found


async def watched(
    *watches: Watch, text: str = "abc", error: Exception | None = None
) -> EventStream:
    stream = await begun(letters(text, error))
    for watch in watches:
        waiting = stream.watch(watch)
        if waiting is not None:
            await waiting
    return stream
