"""Pain 14: concurrent requests slip past a limit, which becomes a limit per process and moment."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING, Any

from gemini.backend.v1 import execute_service_pb2 as pb
from gemini.backend.v1 import execute_service_pb2_grpc
from tests.support.servers.guarded import bearer, ended_by, guarded, key_made, state_of
from tests.support.servers.process import run_backend

if TYPE_CHECKING:
    from pathlib import Path

LIMIT, AT_ONCE = 20, 120
LIMITED = ("RESOURCE_EXHAUSTED", "POLICY_RATE_LIMITED")


async def test_a_limit_holds_however_many_ask_at_once(tmp_path: Path) -> None:
    """Exactly as many as allowed get through, on several connections; others are not affected."""
    more = ("--requests-per-minute", str(LIMIT))
    limited = await key_made(tmp_path, "acme/limited", "caller", more=more)
    async with guarded(tmp_path, {"acme/free": ("caller",)}) as place:
        stub: Any = execute_service_pb2_grpc.ExecuteServiceStub(place.channel)

        def ask(number: int, metadata: Any) -> Any:
            request = pb.ExecuteRequest(prompt=f"question {number}")
            return ended_by(stub.Process(request, metadata=metadata))

        ends = await asyncio.gather(*(ask(n, bearer(limited)) for n in range(AT_ONCE)))
        assert {("OK", ""): LIMIT, LIMITED: AT_ONCE - LIMIT} == Counter(ends)
        free = await asyncio.gather(*(ask(n, place.key("acme/free")) for n in range(LIMIT + 1)))
        assert {("OK", ""): LIMIT + 1} == Counter(free)


async def test_a_limit_is_of_the_principal_and_survives_rotation(tmp_path: Path) -> None:
    """A second secret of the same key is no second allowance."""
    more = ("--requests-per-minute", str(LIMIT))
    old = await key_made(tmp_path, "acme/limited", "caller", more=more)
    key = old.split("_")[1]
    rotated = await run_backend("keys", "rotate", key, env=state_of(tmp_path))
    assert rotated.code == 0, rotated
    new = rotated.stdout.strip()
    async with guarded(tmp_path, {}) as place:
        stub: Any = execute_service_pb2_grpc.ExecuteServiceStub(place.channel)
        ends = await asyncio.gather(
            *(
                ended_by(
                    stub.Process(
                        pb.ExecuteRequest(prompt=f"q{n}"), metadata=bearer((old, new)[n % 2])
                    )
                )
                for n in range(2 * LIMIT)
            )
        )
        assert {("OK", ""): LIMIT, LIMITED: LIMIT} == Counter(ends)
