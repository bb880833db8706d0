"""Embeddings of many callers go upstream together, as few large calls."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from gemini.backend.v1 import content_pb2
from gemini.backend.v1 import execute_service_pb2 as pb
from gemini_backend.call import Call
from gemini_backend.errors import DeadlinePassed, RefusedByModelApi, ServiceError
from gemini_backend.policies.sharing.tape import fresh

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gemini_backend.clock import Alarm, Clock
    from gemini_backend.config.sections.embed import EmbedOptions
    from gemini_backend.policies.base import Unary


@dataclass(frozen=True, slots=True)
class EmbedBatch:
    """Contents to be embedded by one model, each a request of its own with one content.

    The policies see it as they see an execution: its contents count as a prompt.
    """

    model: str
    requests: Sequence[pb.EmbedRequest]
    prompt: str = ""
    system_instruction: content_pb2.Content = field(default_factory=content_pb2.Content)
    priority: pb.Priority.ValueType = pb.PRIORITY_INTERACTIVE

    @property
    def contents(self) -> list[content_pb2.Content]:
        """All contents, in order."""
        return [request.contents[0] for request in self.requests]


class Gathering:
    """Waits a few milliseconds for other callers' contents of the same model, then asks for all.

    A vector depends on its content alone, so callers share a call, and never a result: each gets
    the vectors of its own contents, in its own order. A call lasts as long as the latest of its
    callers' deadlines, and ends when all of them have left. When upstream refuses one with several
    callers, they are asked for by halves, until only the one at fault is told.
    """

    def __init__(
        self,
        options: Callable[[], EmbedOptions],
        send: Unary[EmbedBatch, pb.EmbedResponse],
        clock: Clock,
    ) -> None:
        """Read the options anew for each call; `send` asks for the vectors of a batch."""
        self._options = options
        self._send = send
        self._clock = clock
        self._open: dict[str, _Basket] = {}
        self._flights: set[asyncio.Task[None]] = set()

    async def embed(self, call: Call, request: pb.EmbedRequest) -> pb.EmbedResponse:
        """Return the vectors of a request's contents.

        Raises:
            DeadlinePassed: they did not come in time.
            ServiceError: a content could not be embedded.
        """
        items = [_Item(call, one) for one in _apart(request)]
        for item in items:
            self._put(request.model, item)
        try:
            async with self._clock.timeout(call.remaining(self._clock.now())):
                answers = await asyncio.gather(*(item.answer for item in items))
        except TimeoutError:
            raise DeadlinePassed(
                "embedding took longer than the call's deadline; set a later one, or send fewer "
                "contents"
            ) from None
        finally:
            for item in items:
                item.answer.cancel()
        made = pb.EmbedResponse(model=request.model)
        made.embeddings.extend(vector for vector, _ in answers)
        if all(usage is not None for _, usage in answers):
            for usage in {id(usage): usage for _, usage in answers}.values():
                _add(made.usage, usage)
        return made

    async def aclose(self) -> None:
        """Cancel every call under way and wait for it."""
        for basket in self._open.values():
            basket.close()
        self._open.clear()
        for flight in self._flights:
            flight.cancel()
        await asyncio.gather(*self._flights, return_exceptions=True)

    def _put(self, model: str, item: _Item) -> None:
        options = self._options()
        basket = self._open.get(model)
        if basket is None:
            basket = self._open[model] = _Basket(model)
            window = options.window_ms / 1000
            basket.alarm = self._clock.alarm(window, lambda: self._fly(basket))
        basket.items.append(item)
        if len(basket.items) >= options.max_batch:
            self._fly(basket)

    def _fly(self, basket: _Basket) -> None:
        if self._open.get(basket.model) is basket:
            del self._open[basket.model]
        basket.close()
        task = asyncio.create_task(self._ask(basket.model, basket.items))
        self._flights.add(task)
        task.add_done_callback(self._flights.discard)
        left = len(basket.items)

        def gone(_answer: object) -> None:
            nonlocal left
            left -= 1
            if not left:
                task.cancel()

        for item in basket.items:
            item.answer.add_done_callback(gone)

    async def _ask(self, model: str, items: Sequence[_Item]) -> None:
        """Ask for the vectors of those who still wait; each item is told, whatever comes."""
        waiting = [item for item in items if not item.answer.done()]
        if not waiting:
            return
        batch = EmbedBatch(model, [item.request for item in waiting])
        try:
            response = await self._send(_call_for(waiting), batch)
        except ServiceError as error:
            await self._failed(model, waiting, error)
        except Exception as error:  # noqa: BLE001 - each caller is told, whatever it is
            _tell(waiting, error)
        else:
            alone = len({id(item.call) for item in waiting}) == 1 and response.HasField("usage")
            usage = response.usage if alone else None
            for item, vector in zip(waiting, response.embeddings, strict=True):
                item.give(vector, usage)

    async def _failed(self, model: str, items: Sequence[_Item], error: ServiceError) -> None:
        callers = {id(item.call) for item in items}
        if len(callers) == 1 or not isinstance(error, RefusedByModelApi):
            _tell(items, error)
            return
        half = len(items) // 2
        await self._ask(model, items[:half])
        await self._ask(model, items[half:])

    def __repr__(self) -> str:
        """Name it and its options."""
        options = self._options()
        return f"Gathering(window={options.window_ms:g} ms, max_batch={options.max_batch})"


def _add(sums: content_pb2.Usage, more: content_pb2.Usage | None) -> None:
    """Add what another call used, of those that one request was split into."""
    if more is None:
        return
    before = {kind.name: value for kind, value in sums.ListFields()}
    sums.MergeFrom(more)
    for kind, value in more.ListFields():
        if isinstance(value, int) and kind.name.endswith("_count"):
            setattr(sums, kind.name, before.get(kind.name, 0) + value)


class _Item:
    """One content of one caller, and what will become of it."""

    __slots__ = ("answer", "call", "request")

    def __init__(self, call: Call, request: pb.EmbedRequest) -> None:
        self.call = call
        self.request = request
        loop = asyncio.get_running_loop()
        self.answer: asyncio.Future[tuple[pb.Embedding, content_pb2.Usage | None]] = (
            loop.create_future()
        )

    def give(self, vector: pb.Embedding, usage: content_pb2.Usage | None) -> None:
        if not self.answer.done():
            self.answer.set_result((vector, usage))


@dataclass(slots=True)
class _Basket:
    """What waits to go upstream together."""

    model: str
    items: list[_Item] = field(default_factory=list)
    alarm: Alarm | None = None

    def close(self) -> None:
        if self.alarm is not None:
            self.alarm.cancel()


def _apart(request: pb.EmbedRequest) -> list[pb.EmbedRequest]:
    """Return a request for each content."""
    return [
        pb.EmbedRequest(
            contents=[content],
            task_type=request.task_type,
            title=request.title,
            output_dimensionality=request.output_dimensionality,
        )
        for content in request.contents
    ]


def _call_for(items: Sequence[_Item]) -> Call:
    """Return the call that the layers further in work on: it lasts as long as any caller's."""
    first = items[0].call
    deadlines = [item.call.deadline for item in items]
    known = [deadline for deadline in deadlines if deadline is not None]
    return Call(
        method=first.method,
        execution=first.execution,
        arrived=first.arrived,
        deadline=max(known) if len(known) == len(deadlines) else None,
        principal=first.principal,
        idempotent=True,
    )


def _tell(items: Sequence[_Item], error: Exception) -> None:
    for item in items:
        if not item.answer.done():
            item.answer.set_exception(fresh(error))
