"""Embeddings of many callers go upstream together, as few large calls."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from msgspec.structs import replace

from gemini.backend.v1 import content_pb2
from gemini.backend.v1 import execute_service_pb2 as pb
from gemini_backend.call import Call, FixedBudget, Work
from gemini_backend.errors import (
    AnswerTooLarge,
    CallerError,
    DeadlinePassed,
    PromptBlocked,
    ServiceError,
)
from gemini_backend.policies.failure_classification import may_be_the_callers
from gemini_backend.policies.outcome.usage_sums import add_cost
from gemini_backend.policies.sharing.reader import fresh
from gemini_backend.principal import Principal
from gemini_backend.processing.answers.delta_merge import put
from gemini_backend.processing.answers.extras import merge_extra
from gemini_backend.upstream.base import EmbedBatch

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gemini_backend.clock import Alarm, Clock
    from gemini_backend.config.sections.embed import EmbedOptions
    from gemini_backend.policies.base import Unary


# What is said once for a call upstream, or of this server's own; all else goes with each content.
_PER_CALL = frozenset({"contents", "model", "priority", "labels"})


# So many calls fail, and none succeeds, before a doubtful failure is upstream's own.
_MOST_FAILED = 7


class _Kind(NamedTuple):
    """What contents must agree on to go upstream in one call."""

    tenant: str
    model: str
    priority: pb.Priority.ValueType


class EmbedBatcher:
    """Waits a few milliseconds for other callers' contents, then asks for all of them at once.

    What one call upstream can have only once, tenant, model and priority, is the same for all that
    it asks for; everything else goes with each content.

    A vector depends on its content alone, so callers share a call, and never a result: each gets
    the vectors of its own contents, in its own order. A call lasts as long as the latest of its
    callers' deadlines, and ends when all of them have left. When one with several callers fails in
    a way that may be due to one content, they are asked for by halves, until only the one at fault
    is told: at most twice as many calls as there are callers.
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
        self._open: dict[_Kind, _Basket] = {}
        self._flights: set[asyncio.Task[None]] = set()

    async def embed(self, call: Call, request: pb.EmbedRequest) -> pb.EmbedResponse:
        """Return the vectors of a request's contents.

        Raises:
            DeadlinePassed: they did not come in time.
            ServiceError: a content could not be embedded.
        """
        items = [_Item(call, one) for one in _apart(request)]
        tenant = call.principal.tenant
        kind = _Kind(tenant, request.model, request.priority or pb.PRIORITY_INTERACTIVE)
        for item in items:
            self._put(kind, item)
        try:
            async with self._clock.timeout(call.remaining(self._clock.now())):
                answers = await asyncio.gather(*(item.answer for item in items))
        except TimeoutError:
            raise DeadlinePassed(
                "embedding took longer than the call's deadline; set a later deadline, or send "
                "fewer contents"
            ) from None
        finally:
            for item in items:
                item.answer.cancel()
        made = pb.EmbedResponse(model=request.model)
        made.embeddings.extend(vector for vector, _ in answers)
        calls = {id(whole): whole for _, whole in answers}
        if None not in calls.values():
            for whole in calls.values():
                _add(made, whole)  # type: ignore[arg-type] # none of them is None
        return made

    async def aclose(self) -> None:
        """Cancel every call under way and wait for it."""
        for basket in self._open.values():
            basket.close()
        self._open.clear()
        for flight in self._flights:
            flight.cancel()
        await asyncio.gather(*self._flights, return_exceptions=True)

    def _put(self, kind: _Kind, item: _Item) -> None:
        options = self._options()
        basket = self._open.get(kind)
        if basket is None:
            basket = self._open[kind] = _Basket(kind)
            window = options.window_ms / 1000
            basket.alarm = self._clock.alarm(window, lambda: self._fly(basket))
        basket.items.append(item)
        if len(basket.items) >= options.max_batch:
            self._fly(basket)

    def _fly(self, basket: _Basket) -> None:
        if self._open.get(basket.kind) is basket:
            del self._open[basket.kind]
        basket.close()
        task = asyncio.create_task(self._ask(basket.kind, basket.items))
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

    async def _ask(self, kind: _Kind, items: Sequence[_Item]) -> None:
        """Ask for the vectors of those who still wait; each item is told, whatever comes."""
        search = _Search()
        await self._settle(kind, items, await self._try(kind, items, search), search)

    async def _try(self, kind: _Kind, items: Sequence[_Item], search: _Search) -> Exception | None:
        """Hand out the vectors of those who still wait, by one call; return what it failed with."""
        waiting = [item for item in items if not item.answer.done()]
        if not waiting:
            return None
        requests = [item.request for item in waiting]
        batch = EmbedBatch(kind.model, requests, priority=kind.priority)
        try:
            response = await self._send(_call_for(waiting), batch)
            search.succeeded += 1
        except Exception as error:  # noqa: BLE001 - each caller is told, whatever it is
            search.failed += 1
            return error
        alone = len({id(item.call) for item in waiting}) == 1
        rest = response if alone else None
        for item, vector in zip(waiting, response.embeddings, strict=True):
            item.give(vector, rest)
        return None

    async def _settle(
        self, kind: _Kind, items: Sequence[_Item], error: Exception | None, search: _Search
    ) -> None:
        """Tell a failure to those who caused it: by halves, where one of several may have."""
        if error is None:
            return
        callers = {id(item.call) for item in items}  # also who has left: it may have been theirs
        if len(callers) <= 1 or not search.may_be_ones(error):
            _tell(items, error)
            return
        half = len(items) // 2
        halves = (items[:half], items[half:])
        ends = await asyncio.gather(*(self._try(kind, one, search) for one in halves))
        await asyncio.gather(
            *(self._settle(kind, one, end, search) for one, end in zip(halves, ends, strict=True))
        )

    def __repr__(self) -> str:
        """Name it and its options."""
        options = self._options()
        return f"EmbedBatcher(window={options.window_ms:g} ms, max_batch={options.max_batch})"


def _add(made: pb.EmbedResponse, call: pb.EmbedResponse) -> None:
    """Add what is said beside the vectors of a call that was made for one request alone."""
    if call.HasField("usage"):
        _add_usage(made.usage, call.usage)
    if call.HasField("cost"):
        add_cost(made.cost, call.cost)
    if call.HasField("billable_character_count"):
        made.billable_character_count += call.billable_character_count
    if call.HasField("truncated"):
        made.truncated = made.truncated or call.truncated
    merge_extra(made, call)


def _add_usage(sums: content_pb2.Usage, more: content_pb2.Usage) -> None:
    """Add what another call used, of those that one request was split into."""
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
        self.answer: asyncio.Future[tuple[pb.Embedding, pb.EmbedResponse | None]] = (
            loop.create_future()
        )

    def give(self, vector: pb.Embedding, whole: pb.EmbedResponse | None) -> None:
        """Hand out a vector, and all of the call's answer where nobody else is concerned."""
        if not self.answer.done():
            self.answer.set_result((vector, whole))


@dataclass(slots=True)
class _Search:
    """How the calls went in which the one at fault is looked for."""

    succeeded: int = 0
    failed: int = 0

    def may_be_ones(self, error: Exception) -> bool:
        """Say whether one content may have failed all that were asked for with it.

        What upstream refuses is somebody's. What may as well be upstream's own failure is taken
        for somebody's until several calls have failed and none succeeded.
        """
        if isinstance(error, CallerError | PromptBlocked):
            return True
        if isinstance(error, ServiceError) and not (
            isinstance(error, AnswerTooLarge) or may_be_the_callers(error)
        ):
            return False
        return self.succeeded > 0 or self.failed < _MOST_FAILED


@dataclass(slots=True)
class _Basket:
    """What waits to go upstream together."""

    kind: _Kind
    items: list[_Item] = field(default_factory=list)
    alarm: Alarm | None = None

    def close(self) -> None:
        if self.alarm is not None:
            self.alarm.cancel()


def _apart(request: pb.EmbedRequest) -> list[pb.EmbedRequest]:
    """Return a request for each content, with all that goes with it."""
    shared = pb.EmbedRequest()
    for told, value in request.ListFields():
        if told.name not in _PER_CALL:
            put(shared, told, value)
    apart = []
    for content in request.contents:
        one = pb.EmbedRequest()
        one.CopyFrom(shared)
        one.contents.append(content)
        apart.append(one)
    return apart


def _call_for(items: Sequence[_Item]) -> Call:
    """Return the call that the layers further in work on: it lasts as long as any caller's.

    It has one tenant, and no principal's name where several ask.
    """
    first = items[0].call
    deadlines = [item.call.deadline for item in items]
    known = [deadline for deadline in deadlines if deadline is not None]
    deadline = max(known) if len(known) == len(deadlines) else None
    large = max(item.call.large for item in items)
    call = first.derive(work=Work.EMBEDDING, budget=FixedBudget(deadline), large=large)
    call.attempts.again = all(item.call.attempts.again for item in items)
    if any(item.call.principal != first.principal for item in items):
        return replace(call, principal=Principal(first.principal.tenant, ""))
    return call


def _tell(items: Sequence[_Item], error: Exception) -> None:
    for item in items:
        if not item.answer.done():
            item.answer.set_exception(fresh(error))
