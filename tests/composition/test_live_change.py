"""What a live change takes of the event loop: little enough that nobody waits for it.

The processor time of the loop's thread is measured, which other processes do not lengthen.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

from google.protobuf.field_mask_pb2 import FieldMask

from gemini.backend.v1 import config_service_pb2 as pb
from gemini_backend.api.requests.work import work_of
from gemini_backend.call import Call
from tests.support.composed import composed

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from gemini_backend.composition.assembly import Assembly

SERVICE = "/gemini.backend.v1.ConfigService/"
MOST_SECONDS = 0.020


async def ask(assembly: Assembly, name: str, request: Any) -> Any:
    """Call a method of ConfigService through the chain."""
    method = f"{SERVICE}{name}"
    run = assembly.chain.pipeline(work_of(method)).unary(
        getattr(assembly.services["ConfigService"], name)
    )
    return await run(Call(method, "executions/e1", 0.0, work_of(method), peer="test"), request)


async def taken(work: Callable[[int], Awaitable[object]]) -> float:
    """Return the least processor time of five runs, in seconds."""
    times = []
    for number in range(5):
        begun = time.thread_time()
        await work(number)
        times.append(time.thread_time() - begun)
    return min(times)


async def test_a_change_takes_less_than_20_ms_of_the_loop(tmp_path: Path) -> None:
    """From the request to its answer, with the disk; with the next call, which composes again."""
    parts, assembly = composed(REVISIONS__STORE="disk", STATE__DIR=str(tmp_path))

    async def change(number: int) -> None:
        wanted = pb.BackendConfig()
        wanted.retry.max_attempts = 1 + number
        wanted.execution.idle_timeout_seconds = 100 + number
        mask = FieldMask(paths=["retry.max_attempts", "execution.idle_timeout_seconds"])
        request = pb.UpdateConfigRequest(config=wanted, update_mask=mask)
        await ask(assembly, "UpdateConfig", request)
        await ask(assembly, "GetConfig", pb.GetConfigRequest())

    async def back(number: int) -> None:
        await ask(assembly, "RollbackConfig", pb.RollbackConfigRequest(revision=1 + number))

    assert await taken(change) < MOST_SECONDS
    assert await taken(back) < MOST_SECONDS
    assert 11 == parts.base.store.revision.number
    await parts.aclose()


async def test_others_have_their_turn_while_the_history_is_listed(tmp_path: Path) -> None:
    """A page of 100 revisions, each with its whole configuration, is made in as many steps."""
    parts, assembly = composed(REVISIONS__STORE="disk", STATE__DIR=str(tmp_path))
    for number in range(110):
        await parts.base.store.update({"execution.idle_timeout_seconds": 100 + number})
    turns = 0
    request = pb.ListConfigRevisionsRequest(page_size=100)
    page = asyncio.create_task(ask(assembly, "ListConfigRevisions", request))
    while not page.done():
        await asyncio.sleep(0)
        turns += 1
    assert (100, True) == (len(page.result().revisions), turns >= 100)
    await parts.aclose()
