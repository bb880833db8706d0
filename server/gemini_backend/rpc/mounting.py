"""The chain as grpc.aio interceptors: neighbouring policies share one adapter."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, cast

import grpc

from gemini_backend.api.requests.work import work_of
from gemini_backend.policies.chain import Chain
from gemini_backend.rpc.interceptors.base import is_ours
from gemini_backend.rpc.interceptors.edge import EdgeInterceptor
from gemini_backend.rpc.interceptors.only import Only
from gemini_backend.rpc.interceptors.policy import PolicyInterceptor

if TYPE_CHECKING:
    from gemini_backend.policies.chain import Layer, Scope
    from gemini_backend.policies.pipeline import Pipeline


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
