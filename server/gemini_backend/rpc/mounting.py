"""The chain as grpc.aio interceptors: neighbouring policies share one adapter.

Interceptors that are all ours are put round the handlers once, when the server is built. grpc.aio
asks each interceptor anew for every call, and leaves a cycle of objects behind, which only the
garbage collector finds.
"""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import grpc

from gemini_backend.api.requests.work import work_of
from gemini_backend.policies.chain import Chain
from gemini_backend.rpc.interceptors.base import METHODS, WrappingInterceptor, is_ours
from gemini_backend.rpc.interceptors.edge import EdgeInterceptor
from gemini_backend.rpc.interceptors.only import Only
from gemini_backend.rpc.interceptors.policy import PolicyInterceptor

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gemini_backend.policies.chain import Layer, Scope
    from gemini_backend.policies.pipeline import Pipeline
    from gemini_backend.rpc.interceptors.base import Handler


def interceptors(chain: Chain) -> list[grpc.aio.ServerInterceptor]:
    """Return the chain as grpc.aio takes it, what configuration leaves out left out."""
    mounted: list[grpc.aio.ServerInterceptor] = []
    present = [row for row in chain if row.layer is not None]
    for is_interceptor, group in groupby(present, _is_interceptor):
        if is_interceptor:
            mounted.extend(_limited(row) for row in group)
        else:
            mounted.append(_adapter(Chain(list(group), chain.revision)))
    others = any(isinstance(interceptor, Only) for interceptor in mounted)
    for interceptor in mounted:
        if isinstance(interceptor, EdgeInterceptor):
            interceptor.alone = not others
    return mounted


class Wrapped(grpc.GenericRpcHandler):
    """The methods of ours, with our interceptors round them already, the first one outermost."""

    def __init__(
        self,
        interceptors: Sequence[WrappingInterceptor],
        services: Sequence[grpc.GenericRpcHandler],
    ) -> None:
        """Put them round the handler that one of `services` has for a method."""
        self._handlers: dict[str, Handler] = {}
        for method in METHODS:
            details: Any = _Details(method)
            found = next(filter(None, (service.service(details) for service in services)), None)
            if found is not None:
                for interceptor in reversed(interceptors):
                    found = interceptor.wrap(found, method)
                self._handlers[method] = found

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Handler | None:
        """Return the handler of a method; None where it is not ours."""
        return self._handlers.get(handler_call_details.method)


class _Details(NamedTuple):
    """What handlers are asked for."""

    method: str


def mount(
    interceptors: Sequence[grpc.aio.ServerInterceptor],
    services: Sequence[grpc.GenericRpcHandler],
) -> tuple[Sequence[grpc.aio.ServerInterceptor], Sequence[grpc.GenericRpcHandler]]:
    """Return the interceptors that grpc.aio is to ask for each call, and the handlers."""
    ours = [one for one in interceptors if isinstance(one, WrappingInterceptor)]
    if len(ours) < len(interceptors):
        return interceptors, services
    return (), (Wrapped(ours, services),)


def _is_interceptor(row: Layer) -> bool:
    return isinstance(row.layer, grpc.aio.ServerInterceptor)


def _limited(row: Layer) -> grpc.aio.ServerInterceptor:
    """Keep other people's interceptors to their scope; ours know theirs."""
    interceptor = cast("grpc.aio.ServerInterceptor", row.layer)
    if isinstance(interceptor, EdgeInterceptor):
        return interceptor
    return Only(interceptor, lambda method: covers(row.scope, method))


def covers(scope: Scope, method: str) -> bool:
    """Return whether an RPC belongs to a scope; only RPCs of ours do."""
    return is_ours(method) and scope.covers(work_of(method))


def _adapter(part: Chain) -> PolicyInterceptor:
    def pipeline_for(method: str) -> Pipeline:
        return part.pipeline(work_of(method))

    return PolicyInterceptor(pipeline_for)
