"""Runs the items of a batch, each one through the policies that stand round an execution."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from gemini.backend.v1 import execute_service_pb2 as pb
from gemini_backend.api.requests.status import status_of
from gemini_backend.api.requests.unexpected import service_error_of
from gemini_backend.call import Call, Work, reason_of_cancel
from gemini_backend.errors import InvalidRequest, Violation
from gemini_backend.processing.slices import LARGE

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Sequence

    from gemini_backend.policies.base import Unary
    from gemini_backend.policies.executions import ExecutionRegister, Underway

Result = pb.BatchExecuteResponse
# Identical items start together, so that they share one run; more of them share another one.
MOST_TOGETHER = 1000
_KEYS_AT_A_TIME = 50
_ITEMS_AT_A_TIME = 500


class BatchRunner:
    """Gives each item's result as it comes; an item that fails fails alone.

    At most so many runs are under way as the request or the configuration says; identical items
    are one run. Nothing further is started while the reader takes no results.
    """

    def __init__(
        self,
        execute: Unary[pb.ExecuteRequest, pb.ProcessResponse],
        concurrency: Callable[[], int],
        key_of: Callable[[Call, pb.ExecuteRequest], bytes | None],
        executions: ExecutionRegister,
    ) -> None:
        """Run items.

        Args:
            execute: Answers one item: validation, policies, upstream.
            concurrency: How many runs at once, where the request does not say.
            key_of: What two items must have in common to be one run; None for never.
            executions: Knows each item by its name.
        """
        self._execute = execute
        self._concurrency = concurrency
        self._key_of = key_of
        self._executions = executions

    async def results(self, call: Call, request: pb.BatchExecuteRequest) -> AsyncIterator[Result]:
        """Yield one result an item, in the order in which they come.

        However it is left, no item runs on.
        """
        items = await self._items(call, request)
        groups = iter(await self._groups(call, request))
        limit = request.concurrency or self._concurrency()
        done: asyncio.Queue[Result] = asyncio.Queue(limit)
        workers = [
            asyncio.create_task(self._work(items, groups, done))
            for _ in range(min(limit, len(request.items)))
        ]
        try:
            for _ in request.items:
                yield await done.get()
        finally:
            for worker in workers:
                worker.cancel()
            await asyncio.gather(*workers, return_exceptions=True)

    async def _items(self, call: Call, request: pb.BatchExecuteRequest) -> list[Underway]:
        """Return the items, each of which can be asked for and cancelled from now on."""
        batch = self._executions.begin_batch(call, len(request.items))
        items = []
        for index, item in enumerate(request.items):
            if index % _ITEMS_AT_A_TIME == 0:
                await asyncio.sleep(0)  # others are served too
            own = _call_of(call, index, item)
            items.append(self._executions.begin_item(own, item, batch))
        return items

    async def _groups(self, call: Call, request: pb.BatchExecuteRequest) -> list[list[int]]:
        """Return the items' places, those of identical ones together."""
        groups: list[list[int]] = []
        latest: dict[bytes, list[int]] = {}
        for index, item in enumerate(request.items):
            if call.large or index % _KEYS_AT_A_TIME == 0:
                await asyncio.sleep(0)  # others are served too
            # each large one is a run of its own: to see whether two are the same takes long
            large = call.large and item.ByteSize() > LARGE
            key = None if large else self._key_of(call, item)
            group = None if key is None else latest.get(key)
            if group is None or len(group) >= MOST_TOGETHER:
                group = []
                groups.append(group)
                if key is not None:
                    latest[key] = group
            group.append(index)
        return groups

    async def _work(
        self,
        items: Sequence[Underway],
        groups: Iterator[Sequence[int]],
        done: asyncio.Queue[Result],
    ) -> None:
        for group in groups:
            runs = [self._run(items[index], index) for index in group]
            if len(runs) == 1:
                await done.put(await runs[0])
                continue
            tasks = [asyncio.create_task(run) for run in runs]
            try:
                for task in asyncio.as_completed(tasks):
                    await done.put(await task)
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)

    async def _run(self, item: Underway, index: int) -> Result:
        own = item.call
        asked = pb.ExecuteRequest()
        asked.CopyFrom(item.request)
        if not asked.priority:
            asked.priority = pb.PRIORITY_BATCH
        item.task = asyncio.current_task()
        try:
            _refuse_to_begin(own, asked)
            response = await self._execute(own, asked)
        except asyncio.CancelledError:
            reason = reason_of_cancel(own)
            if reason is None:
                raise
            own.outcome.error = reason
        except Exception as error:  # noqa: BLE001 - whatever it is, the other items go on
            own.outcome.error = service_error_of(own, error)
        finally:
            item.task = None
        failed = own.outcome.error
        self._executions.call_ended(own, failed)
        if failed is not None:
            return Result(index=index, execution=own.execution, error=status_of(failed))
        return Result(index=index, execution=own.execution, response=response)


def _call_of(call: Call, index: int, item: pb.ExecuteRequest) -> Call:
    """Return an item's own call; time, principal and metadata are the batch's."""
    size = item.ByteSize() if call.large else 0
    return call.derive(
        execution=f"{call.execution}.{index}",
        work=Work.ITEM,
        request_id=item.request_id,
        large=size if size > LARGE else 0,
    )


def _refuse_to_begin(own: Call, item: pb.ExecuteRequest) -> None:
    """Raise where an item was cancelled before its turn, or asks for what only a stream has.

    Raises:
        Cancelled: it was.
        InvalidRequest: it does.
    """
    if own.outcome.cut_short is not None:
        raise own.outcome.cut_short
    if item.HasField("resume"):
        words = "cannot be used in a batch; resume the execution with Execute"
        raise InvalidRequest(
            f"resume: {words}", violations=[Violation("resume", words, "batch.resume")]
        )
