"""A batch gives each item's result once, as it comes, and no item harms another."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from google.rpc import error_details_pb2
from hypothesis import given
from hypothesis import strategies as st

from gemini.backend.v1 import execute_service_pb2 as pb
from gemini_backend.api.batch import BatchRunner
from gemini_backend.config.sections.answers import CoalesceOptions
from gemini_backend.errors import Cancelled, Overloaded
from gemini_backend.policies.cache.key import run_key
from gemini_backend.policies.checks.validate import Validate
from gemini_backend.policies.pipeline import Pipeline
from gemini_backend.policies.sharing.single_flight import SingleFlight
from tests.support.clock import FakeClock, settle
from tests.support.layers.known_executions import Known
from tests.support.upstreams.counting_upstream import answer_of, caller

if TYPE_CHECKING:
    from gemini_backend.call import Call


class Batch:
    """A runner round a scripted upstream: an item's prompt says after how long it ends, and how."""

    def __init__(self, clock: FakeClock, concurrency: int = 4) -> None:
        self.clock = clock
        self.calls: list[Call] = []
        self.asked: list[pb.ExecuteRequest] = []
        self.running = self.peak = 0
        self.coalesce = SingleFlight(CoalesceOptions, clock)
        pipeline = Pipeline(Validate(), self.coalesce)
        self.known = Known(clock)
        self.runner = BatchRunner(
            pipeline.unary(self._answer), lambda: concurrency, self._key, self.known.register
        )

    def results(self, *prompts: str, concurrency: int = 0) -> Any:
        items = [pb.ExecuteRequest(prompt=prompt) for prompt in prompts]
        request = pb.BatchExecuteRequest(items=items, concurrency=concurrency)
        return self.runner.results(caller(self.clock, "b"), request)

    def _key(self, call: Call, item: pb.ExecuteRequest) -> bytes | None:
        return run_key(call, item) if self.coalesce.shares(item) else None

    async def _answer(self, call: Call, request: pb.ExecuteRequest) -> pb.ProcessResponse:
        self.calls.append(call)
        self.asked.append(request)
        self.running += 1
        self.peak = max(self.peak, self.running)
        seconds, _, rest = request.prompt.partition(" ")
        try:
            await self.clock.sleep(float(seconds))
        finally:
            self.running -= 1
        if rest.startswith("fail"):
            raise Overloaded("too much; try again", retry_after=3.0)
        if rest.startswith("defect"):
            raise ZeroDivisionError
        return answer_of(request.prompt)


async def told(clock: FakeClock, results: Any) -> list[pb.BatchExecuteResponse]:
    """Return every result, letting as much time pass as it takes."""
    task = asyncio.ensure_future(_all(results))
    while not task.done():
        await clock.advance(1)
    return await task


async def _all(results: Any) -> list[pb.BatchExecuteResponse]:
    return [result async for result in results]


def text_of(result: pb.BatchExecuteResponse) -> str:
    return result.response.candidates[0].content.parts[0].text


async def test_results_come_as_they_finish_with_their_index(clock: FakeClock) -> None:
    """A quick item is not kept waiting by a slow one before it."""
    results = await told(clock, Batch(clock).results("3 a", "1 b", "2 c"))
    assert [(1, "1 b"), (2, "2 c"), (0, "3 a")] == [(one.index, text_of(one)) for one in results]


async def test_an_item_that_fails_fails_alone(clock: FakeClock) -> None:
    """Failures, defects and invalid items are statuses of their own, with details as on an RPC."""
    batch = Batch(clock)
    results = await told(clock, batch.results("1 a", "1 fail", "", "1 defect", "1 b"))
    by_index = {one.index: one for one in results}
    assert ["1 a", "1 b"] == [text_of(by_index[0]), text_of(by_index[4])]
    assert [8, 3, 13] == [by_index[index].error.code for index in (1, 2, 3)]
    info, retry = error_details_pb2.ErrorInfo(), error_details_pb2.RetryInfo()
    by_index[1].error.details[0].Unpack(info)
    by_index[1].error.details[1].Unpack(retry)
    assert ("POLICY_OVERLOADED", 3) == (info.reason, retry.retry_delay.seconds)


async def test_an_item_may_not_resume(clock: FakeClock) -> None:
    """A whole answer has no sequence to go on after, and the item says so by its field."""
    request = pb.BatchExecuteRequest(
        items=[pb.ExecuteRequest(resume=pb.Resume(execution="executions/e", after_sequence=1))]
    )
    (result,) = await told(clock, Batch(clock).runner.results(caller(clock), request))
    bad = error_details_pb2.BadRequest()
    result.error.details[1].Unpack(bad)
    assert (3, "resume") == (result.error.code, bad.field_violations[0].field)


async def test_each_item_is_a_call_of_its_own_at_batch_priority(clock: FakeClock) -> None:
    """Ids, attempts and trailers are an item's own; an item's own priority is kept."""
    batch = Batch(clock)
    items = [
        pb.ExecuteRequest(prompt="1 a"),
        pb.ExecuteRequest(prompt="1 b", priority=pb.PRIORITY_INTERACTIVE),
    ]
    request = pb.BatchExecuteRequest(items=items)
    await told(clock, batch.runner.results(caller(clock, "b"), request))
    assert ["b.0", "b.1"] == sorted(call.execution for call in batch.calls)
    assert [pb.PRIORITY_INTERACTIVE, pb.PRIORITY_BATCH] == sorted(
        one.priority for one in batch.asked
    )
    assert pb.PRIORITY_UNSPECIFIED == request.items[0].priority


async def test_identical_items_are_one_run(clock: FakeClock) -> None:
    """However few may run at once, a hundred identical items cost one call upstream."""
    batch = Batch(clock, concurrency=2)
    results = await told(clock, batch.results(*["2 same"] * 100, "1 other"))
    assert (101, 2) == (len({one.index for one in results}), len(batch.asked))
    statuses = [one.response.started.cache_status for one in results]
    assert 99 == statuses.count(pb.CACHE_STATUS_COALESCED)


async def test_identical_items_that_want_answers_of_their_own_get_them(clock: FakeClock) -> None:
    """With `cache_control` BYPASS nothing is shared, and the limit holds for all of them."""
    batch = Batch(clock, concurrency=2)
    own = pb.ExecuteRequest(prompt="1 x", cache_control=pb.CacheControl(mode=pb.CACHE_MODE_BYPASS))
    request = pb.BatchExecuteRequest(items=[own] * 5)
    results = await told(clock, batch.runner.results(caller(clock), request))
    assert (5, 5, 2) == (len(results), len(batch.asked), batch.peak)


async def test_leaving_cancels_what_runs_and_starts_no_more(clock: FakeClock) -> None:
    """When the caller goes away every running item is cancelled before the batch is gone."""
    batch = Batch(clock, concurrency=3)
    results = batch.results(*[f"{number + 1} x" for number in range(10)])
    first = asyncio.ensure_future(anext(results))
    await clock.advance(1)
    await first
    assert 0 < batch.running
    await results.aclose()
    started = len(batch.asked)
    await clock.advance(100)
    assert (0, started) == (batch.running, len(batch.asked))


async def test_a_reader_that_takes_nothing_stops_new_items(clock: FakeClock) -> None:
    """Results wait in a bounded number; nothing is paid for that nobody reads."""
    batch = Batch(clock, concurrency=2)
    results = batch.results(*[f"0.1 x{number}" for number in range(50)])
    first = asyncio.ensure_future(anext(results))
    await clock.advance(1)
    await first
    for _ in range(20):
        await clock.advance(1)
    await settle()
    assert len(batch.asked) <= 1 + 3 * 2
    await results.aclose()


ITEMS = st.lists(
    st.tuples(st.integers(0, 3), st.sampled_from(["", "fail", "defect", "a", "b"])),
    min_size=1,
    max_size=30,
)


@given(items=ITEMS, concurrency=st.integers(1, 8))
def test_every_index_comes_once_and_never_too_many_run(
    items: list[tuple[int, str]], concurrency: int
) -> None:
    """Whatever takes how long and ends how: each item has one result, within the limit."""

    async def run() -> None:
        clock = FakeClock()
        batch = Batch(clock)
        prompts = [f"{seconds} {what}" if what else "" for seconds, what in items]
        results = await told(clock, batch.results(*prompts, concurrency=concurrency))
        assert list(range(len(items))) == sorted(one.index for one in results)
        assert batch.peak <= concurrency
        good = {one.index for one in results if one.HasField("response")}
        assert {index for index, (_, what) in enumerate(items) if what in {"a", "b"}} == good

    asyncio.run(run())


async def test_items_are_cancelled_one_by_one(clock: FakeClock) -> None:
    """One that runs and one that waits have a status each; the others are not affected."""
    batch = Batch(clock, concurrency=1)
    register = batch.known.register
    register.begin(caller(clock, "b"), None, pb.EXECUTION_KIND_BATCH)
    telling = asyncio.ensure_future(told(clock, batch.results("50 a", "1 b", "1 c")))
    while not batch.running:
        await settle()
    who = caller(clock).principal
    for item in ("b.1", "b.0"):
        ended = await register.cancel(who, item, Cancelled("stopped"))
        assert (pb.EXECUTION_STATE_CANCELLED, item) == (ended.state, ended.name)
    results = sorted(await telling, key=lambda result: int(result.index))
    assert ["b.0", "b.1", "b.2"] == [result.execution for result in results]
    assert [1, 1, 0] == [result.error.code for result in results]
    assert "1 c" == text_of(results[2])
    assert 2 == len(batch.calls)
