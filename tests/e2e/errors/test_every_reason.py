"""Every reason for which a call can fail is provoked, and arrives at clients of two languages.

The clients have their default limits. `provocations.py` says how to add a reason.
"""

from __future__ import annotations

import asyncio
import inspect
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

from gemini_backend import errors
from gemini_backend.errors import ServiceError
from tests.e2e.errors import scripted_api
from tests.e2e.errors.clients import GrpcJs, Rpc, Seen, ask_python, running_grpc_js
from tests.e2e.errors.provocations import PROVOCATIONS, Provocation
from tests.e2e.errors.stages import STAGES, Stage
from tests.support.servers.http_api import served

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(600)]

MOST_BYTES = 4096
LEAVES: dict[str, type[ServiceError]] = {
    kind.reason: kind
    for _, kind in inspect.getmembers(errors, inspect.isclass)
    if issubclass(kind, ServiceError) and hasattr(kind, "reason")
}


class Theatre:
    """Starts each stage when it is first asked for."""

    def __init__(self, api: str, node: GrpcJs, open_until: AsyncExitStack, folder: Path) -> None:
        self.node = node
        self._api = api
        self._open = open_until
        self._folder = folder
        self._stages: dict[str, Stage] = {}

    async def stage(self, name: str) -> Stage:
        """Return the stage of this name."""
        if name not in self._stages:
            folder = self._folder / name.replace(" ", "-")
            folder.mkdir()
            made = STAGES[name](self._api, folder)
            self._stages[name] = await self._open.enter_async_context(made)
        return self._stages[name]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def theatre(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Theatre]:
    """Run the upstream and Node's client; servers as they are needed."""
    async with (
        served(scripted_api.answer) as api,
        running_grpc_js() as node,
        AsyncExitStack() as stages,
    ):
        yield Theatre(api, node, stages, tmp_path_factory.mktemp("stages"))


async def test_every_reason_has_a_provocation() -> None:
    """All that the server raises."""
    assert set(LEAVES) == {provocation.reason for provocation in PROVOCATIONS}


@pytest.mark.parametrize("provocation", PROVOCATIONS, ids=str)
async def test_it_arrives(theatre: Theatre, provocation: Provocation) -> None:
    """Code, reason and domain arrive, pushback is as errors.md says, and all fits into 4 KiB."""
    stage = await theatre.stage(provocation.stage)
    rpc = Rpc(
        provocation.path,
        provocation.request.SerializeToString(),
        provocation.stream,
        provocation.seconds,
        stage.key,
    )
    meanwhile = asyncio.ensure_future(stage.meanwhile())
    in_python, in_node = await asyncio.gather(
        ask_python(stage.target, rpc), theatre.node.ask(stage.target, rpc)
    )
    await meanwhile
    for seen in (in_python, in_node):
        check(seen, provocation)
    assert provocation.reason == in_python.typed


def check(seen: Seen, provocation: Provocation) -> None:
    """Hold what a client saw against what was provoked."""
    leaf = LEAVES[provocation.reason]
    assert (provocation.reason, "gemini.backend", leaf.code) == (
        seen.info.reason,
        seen.info.domain,
        seen.code,
    ), (seen.message, seen.info)
    assert (seen.message, seen.code) == (seen.status.message, seen.status.code)
    assert seen.metadata_bytes <= MOST_BYTES
    if not leaf.retryable:
        assert seen.pushback == -1
    elif provocation.final:
        assert seen.pushback is not None
        assert 2000 <= seen.pushback <= 5000
    else:
        assert seen.pushback is None or seen.pushback >= 0
