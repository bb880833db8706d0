"""One attempt at a streamed answer, from its request to its last event."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gemini_backend.errors import ServiceError
from gemini_backend.upstream.gemini.answer import in_turns, service_tier

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from gemini.backend.v1 import execute_service_pb2 as pb
    from gemini_backend.upstream.gemini.answer import AnswerStream
    from gemini_backend.upstream.gemini.attempts import Attempt
    from gemini_backend.upstream.gemini.body import EventReader
    from gemini_backend.upstream.gemini.connection.end_of_body import EndOfBody


@dataclass(slots=True)
class Begun:
    """An attempt that has got the head of an answer, and what reads the rest of it.

    `tier` is the service tier that the head names, empty for none.
    """

    attempt: Attempt
    answer: AnswerStream
    reader: EventReader
    end: EndOfBody
    tier: str

    def cut(self, error: ServiceError) -> bytes:
        """Return the end of a body, if the failure to read on may be that.

        Raises:
            ServiceError: it may not.
        """
        if self.end.broke_off(error, self.reader):
            return b""
        raise self.answer.failed(error) from None


class StreamedAnswer:
    """The events of an answer: `started`, the deltas, `completed`; read by one task at a time.

    Once it has begun, a wait that is cancelled ends nothing: the attempt goes on, and whoever asks
    next gets the event. So it has to be closed by whoever does not want the rest.

    Attributes:
        ready: Events that came with those that were read, and may be taken without a wait.
    """

    __slots__ = ("_aside", "_begin", "_begun", "_failure", "_last", "_over", "ready")

    def __init__(self, begin: Callable[[], Awaitable[Begun]]) -> None:
        """Begin the attempt by `begin` when the first event is asked for."""
        self._begin = begin
        self._begun: Begun | None = None
        self.ready: deque[pb.ExecuteResponse] = deque()
        self._aside: asyncio.Task[list[pb.ExecuteResponse]] | None = None
        self._failure: BaseException | None = None
        self._last = False  # the body is at its end
        self._over = False

    @property
    def resumable(self) -> bool:
        """Whether a read that was cancelled can be begun again: once there is an answer."""
        return self._begun is not None

    def __aiter__(self) -> StreamedAnswer:
        """Return itself."""
        return self

    async def __anext__(self) -> pb.ExecuteResponse:
        """Return the next event.

        Raises:
            ServiceError: what became of the answer instead; deltas that had come before it have
                been handed on.
        """
        ready = self.ready
        while not ready:
            if self._over:
                raise StopAsyncIteration
            begun = self._begun
            if begun is None:
                begun = await self._opened()
            if self._failure is not None:
                raise await self._ended_by(begun.attempt, self._failure)
            try:
                events = None
                if self._aside is None:
                    end = begun.end
                    limit = end.limit(begun.answer)
                    try:
                        read = await (end.read() if limit is None else end.read_within(limit))
                    except ServiceError as error:
                        read = begun.cut(error)
                    events = self._made(begun, read)
                self._took(begun, await self._made_aside() if events is None else events)
            except asyncio.CancelledError:
                raise
            except BaseException as error:  # noqa: BLE001 - raised at once, by the next turn
                self._failure = error
        return ready.popleft()

    async def aclose(self) -> None:
        """Give the rest up: the connection is closed at once, and the attempt was cancelled."""
        if self._over:
            return
        self._over = True
        self.ready.clear()
        if self._begun is not None:
            self._begun.attempt.end(GeneratorExit())
        if self._aside is not None:
            self._aside.cancel()
            await asyncio.gather(self._aside, return_exceptions=True)

    async def _opened(self) -> Begun:
        """Begin the attempt; one that does not come so far is over."""
        self._over = True
        self._begun = begun = await self._begin()
        self._over = False
        return begun

    def _made(self, begun: Begun, read: bytes) -> Sequence[pb.ExecuteResponse] | None:
        """Return the events of what has come; None for what takes long, which is done aside.

        Raises:
            ServiceError: what came cannot be read.
        """
        answer, reader = begun.answer, begun.reader
        self._last = not read
        found_later: Any
        if len(read) <= in_turns.READ:
            try:
                found = reader.feed(read) if read else reader.finish()
                if not in_turns.are_many(found):
                    return answer.feed(found)
            except ServiceError as error:
                raise answer.failed(error) from None
            found_later = found
        else:
            found_later = in_turns.cut(reader, read)
        self._aside = asyncio.create_task(_told(answer, found_later))
        return None

    async def _made_aside(self) -> Sequence[pb.ExecuteResponse]:
        """Return the events of what takes long, whoever waits for it.

        Raises:
            ServiceError: what came cannot be read.
        """
        aside = self._aside
        if aside is None:
            return ()
        await asyncio.wait((aside,))
        self._aside = None
        return aside.result()

    def _took(self, begun: Begun, events: Sequence[pb.ExecuteResponse]) -> None:
        """Take the events of a read, and the last ones where it was the last.

        Raises:
            ServiceError: the answer is not whole.
        """
        answer = begun.answer
        if begun.tier:
            service_tier.note_tier_in(events, begun.tier)
        self.ready.extend(events)
        if answer.failure is not None:
            self._failure = answer.failure
        elif not self._last:
            begun.end.heard(events)
        else:
            attempt = begun.attempt
            last = answer.finish(begun.end.cut(begun.reader))
            service_tier.note_tier_in(last, begun.tier)
            attempt.succeeded(last[-1].completed.finish_reason)
            attempt.end(None)
            self._over = True
            self.ready.extend(last)

    async def _ended_by(self, attempt: Attempt, failure: BaseException) -> BaseException:
        """End the attempt; return its failure as it is to be told."""
        told = await attempt.explained(failure)
        attempt.end(told)
        self._over = True
        self._failure = None  # or it would hold this, and this would hold it
        return told


async def _told(answer: AnswerStream, found: Any) -> list[pb.ExecuteResponse]:
    """Return the events of payloads that are many or large, or are cut out of a long read first.

    Raises:
        ServiceError: they cannot be cut out.
    """
    try:
        payloads = found if isinstance(found, list) else await found
    except ServiceError as error:
        raise answer.failed(error) from None
    if in_turns.are_many(payloads):
        return await in_turns.told(answer, payloads)
    return answer.feed(payloads)
