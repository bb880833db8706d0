"""The only adapter: mounts policies, which know nothing of gRPC, as a grpc.aio interceptor."""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from gemini_backend.call import CURRENT, Call, current_call
from gemini_backend.rpc.interceptors.base import (
    StreamHandler,
    UnaryHandler,
    WrappingInterceptor,
    generating,
    served_by,
    serving,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from gemini_backend.policies.event_stream import EventStream
    from gemini_backend.policies.pipeline import Pipeline
    from gemini_backend.rpc.interceptors.base import Context

_CONTEXT: ContextVar[Context] = ContextVar("gemini_backend_grpc_context")


class PolicyInterceptor(WrappingInterceptor):
    """Stands round the handler of each method of ours the pipeline that is meant for it.

    A handler of ours is given the call that the innermost policy hands on. For any other one it is
    published again, so that a narrowed one reaches whatever stands further in. A second run of the
    rest runs the handler again, never grpc's continuation, which can be had only once.
    """

    def __init__(self, pipeline_for: Callable[[str], Pipeline]) -> None:
        """Mount what `pipeline_for` gives for a method; it is asked once a method."""
        super().__init__()
        self._pipeline_for = pipeline_for

    def unary(self, method: str, inner: UnaryHandler) -> UnaryHandler:
        """Run the pipeline, with the handler innermost."""
        pipeline, serves = self._pipeline_for(method), served_by(inner)
        if serves is not None:
            run = pipeline.unary(serves)

            async def ours(request: Any, _context: Context) -> Any:
                return await run(current_call(), request)

            handler: UnaryHandler = serving(ours, run)
            return handler

        async def innermost(call: Call, request: Any) -> Any:
            CURRENT.set(call)
            return await inner(request, _CONTEXT.get())

        composed = pipeline.unary(innermost)

        async def others(request: Any, context: Context) -> Any:
            _CONTEXT.set(context)
            return await composed(current_call(), request)

        return others

    def stream(self, method: str, inner: StreamHandler) -> StreamHandler:
        """Run the pipeline, with the handler innermost."""
        pipeline, serves = self._pipeline_for(method), served_by(inner)
        if serves is not None:
            opens_ours = pipeline.open(serves)
            return generating(lambda request, _: opens_ours(current_call(), request), method)

        def innermost(call: Call, request: Any) -> AsyncIterator[Any]:
            CURRENT.set(call)
            return inner(request, _CONTEXT.get())

        opens = pipeline.open(innermost)

        def run(request: Any, context: Context) -> Awaitable[EventStream]:
            _CONTEXT.set(context)
            return opens(current_call(), request)

        return generating(run, method)

    def __repr__(self) -> str:
        """Name the interceptor."""
        return "Policies()"
