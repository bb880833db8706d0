"""Runs the items of a batch, each one through the policies that stand round an execution."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from gemini.backend.v1 import execute_service_pb2 as pb
from gemini_backend.api.requests.status import status_of
from gemini_backend.api.requests.unexpected import service_error_of
from gemini_backend.call import Call, Work
from gemini_backend.errors import InvalidRequest, Violation

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Sequence

    from gemini_backend.policies.base import Unary

Result = pb.BatchExecuteResponse
# Identical items start together, so that they share one run; more of them share another one.
MOST_TOGETHER = 1000
_KEYS_AT_A_TIME = 50


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
    ) -> None:
        """Run items.

        Args:
            execute: Answers one item: validation, policies, upstream.
            concurrency: How many runs at once, where the request does not say.
            key_of: What two items must have in common to be one run; None for never.
        """
        self._execute = execute
        self._concurrency = concurrency
        self._key_of = key_of

    async def results(self, call: Call, request: pb.BatchExecuteRequest) -> AsyncIterator[Result]:
        """Yield one result an item, in the order in which they come.

        However it is left, no item runs on.
        """
        groups = iter(await self._groups(call, request))
        limit = request.concurrency or self._concurrency()
        done: asyncio.Queue[Result] = asyncio.Queue(limit)
        workers = [
            asyncio.create_task(self._work(call, request, groups, done))
            for _ in range(min(limit, len(request.items)))
        ]
        try:
            for _ in request.items:
                yield await done.get()
        finally:
            for worker in workers:
                worker.cancel()
            await asyncio.gather(*workers, return_exceptions=True)

    async def _groups(self, call: Call, request: pb.BatchExecuteRequest) -> list[list[int]]:
        """Return the items' places, those of identical ones together."""
        groups: list[list[int]] = []
        latest: dict[bytes, list[int]] = {}
        for index, item in enumerate(request.items):
            if index % _KEYS_AT_A_TIME == 0:
                await asyncio.sleep(0)  # others are served too
            key = self._key_of(call, item)
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
        call: Call,
        request: pb.BatchExecuteRequest,
        groups: Iterator[Sequence[int]],
        done: asyncio.Queue[Result],
    ) -> None:
        for group in groups:
            runs = [self._run(call, index, request.items[index]) for index in group]
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

    async def _run(self, call: Call, index: int, item: pb.ExecuteRequest) -> Result:
        own = _call_of(call, index, item.request_id)
        asked = pb.ExecuteRequest()
        asked.CopyFrom(item)
        if not asked.priority:
            asked.priority = pb.PRIORITY_BATCH
        try:
            _refuse_resume(asked)
            return Result(index=index, response=await self._execute(own, asked))
        except Exception as error:  # noqa: BLE001 - whatever it is, the other items go on
            own.outcome.error = service_error_of(own, error)
            return Result(index=index, error=status_of(own.outcome.error))


def _call_of(call: Call, index: int, request_id: str) -> Call:
    """Return an item's own call; time, principal and metadata are the batch's."""
    return call.derive(execution=f"{call.execution}.{index}", work=Work.ITEM, request_id=request_id)


def _refuse_resume(item: Any) -> None:
    """Raise where an item asks for what only a stream has.

    Raises:
        InvalidRequest: it does.
    """
    if item.HasField("resume"):
        words = "cannot be used in a batch; resume the execution with Execute"
        raise InvalidRequest(
            f"resume: {words}", violations=[Violation("resume", words, "batch.resume")]
        )
