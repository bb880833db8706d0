"""What stands before the services of gRPC's door."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from gemini_backend.composition.doors.identity import rpc_guard_of
from gemini_backend.principal import ANONYMOUS, UNKNOWN
from gemini_backend.rpc.call_factory import CallFactory
from gemini_backend.rpc.interceptors.edge import EdgeInterceptor

if TYPE_CHECKING:
    from gemini_backend.composition.doors.identity import Identity
    from gemini_backend.composition.parts import Parts
    from gemini_backend.rpc.guard import RpcGuard


class Doors(NamedTuple):
    """What stands before the services: ours, those of others, and what there is not.

    Attributes:
        edge: Makes the call of each RPC, and ends it.
        guard: Asked before services of others, too; None where everybody may.
        calls: Makes the calls that the guard is asked for.
    """

    edge: EdgeInterceptor
    guard: RpcGuard | None
    calls: CallFactory


def doors_of(parts: Parts, identity: Identity) -> Doors:
    """Return what makes and guards the calls of gRPC's door."""
    base, guard = parts.base, rpc_guard_of(identity)
    calls = CallFactory(base.clock, ANONYMOUS if guard is None else UNKNOWN)
    limits = base.config.server
    edge = EdgeInterceptor(
        calls,
        parts.reception(),
        base.clock,
        base.requests,
        max_rpcs=limits.max_concurrent_rpcs,
        max_rpcs_per_peer=limits.max_rpcs_per_peer,
        guard=guard,
    )
    return Doors(edge, guard, calls)
