"""What the design rests on in grpc.aio; an upgrade that changes one of these is noticed here.

Covers: rpc/interceptors/only.py
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from opentelemetry.instrumentation.grpc import aio_server_interceptor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from gemini_backend.rpc.interceptors.begun import Begun
from gemini_backend.rpc.interceptors.only import Only

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

    from opentelemetry.sdk.trace import ReadableSpan

UNARY = "/test.Test/Unary"
STREAM = "/test.Test/Stream"


class Generic(grpc.GenericRpcHandler):
    """Serves functions under bare paths, bytes in and bytes out."""

    def __init__(self, handlers: dict[str, Any]) -> None:
        self._handlers = handlers

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
        return self._handlers.get(handler_call_details.method)


class Server:
    """A grpc.aio server for as long as a test needs it."""

    def __init__(self, handlers: dict[str, Any], interceptors: list[Any] | None = None) -> None:
        self._server = grpc.aio.server(interceptors=interceptors or [])
        self._server.add_generic_rpc_handlers((Generic(handlers),))
        self.raw = self._server

    async def __aenter__(self) -> grpc.aio.Channel:
        port = self._server.add_insecure_port("127.0.0.1:0")
        await self._server.start()
        self.target = f"127.0.0.1:{port}"
        self.channel = grpc.aio.insecure_channel(self.target)
        return self.channel

    async def __aexit__(self, *_: object) -> None:
        await self.channel.close()
        await self._server.stop(0)


class Spans(InMemorySpanExporter):
    """Keeps the spans that have ended, and says when there is one."""

    def __init__(self) -> None:
        super().__init__()
        self.any = asyncio.Event()

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Keep them."""
        self.any.set()
        return super().export(spans)


class Noting(grpc.aio.ServerInterceptor):
    """Notes that it was asked."""

    def __init__(self, name: str, notes: list[str]) -> None:
        self._name, self._notes = name, notes

    async def intercept_service(self, continuation: Any, handler_call_details: Any) -> Any:
        self._notes.append(self._name)
        return await continuation(handler_call_details)


class Twice(grpc.aio.ServerInterceptor):
    """Asks its continuation a second time, as a naive retry would."""

    async def intercept_service(self, continuation: Any, handler_call_details: Any) -> Any:
        await continuation(handler_call_details)
        return await continuation(handler_call_details)


async def echo(request: bytes, _context: Any) -> bytes:
    return request


async def test_second_continuation_skips_inner_interceptors() -> None:
    """A second `await continuation()` goes past every interceptor further in."""
    notes: list[str] = []
    handlers = {UNARY: grpc.unary_unary_rpc_method_handler(echo)}
    async with Server(handlers, [Twice(), Noting("inner", notes)]) as channel:
        assert await channel.unary_unary(UNARY)(b"x") == b"x"
    assert notes == ["inner"]


async def test_continuation_gives_none_for_an_unknown_method() -> None:
    """The continuation returns None where no handler is known."""
    seen: list[Any] = []

    class Looking(grpc.aio.ServerInterceptor):
        async def intercept_service(self, continuation: Any, handler_call_details: Any) -> Any:
            handler = await continuation(handler_call_details)
            seen.append(handler)
            return handler

    async with Server({}, [Looking()]) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as failure:
            await channel.unary_unary(UNARY)(b"x")
    assert (grpc.StatusCode.UNIMPLEMENTED, [None]) == (failure.value.code(), seen)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.filterwarnings("ignore:coroutine:RuntimeWarning")
async def test_a_callable_object_is_no_handler() -> None:
    """A handler must be a real `async def`: an object with an async `__call__` fails."""

    class Callable_:  # noqa: N801 - stands for any such object
        async def __call__(self, request: bytes, _context: Any) -> bytes:
            return request

    handlers = {UNARY: grpc.unary_unary_rpc_method_handler(Callable_())}
    async with Server(handlers) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as failure:
            await channel.unary_unary(UNARY)(b"x")
    assert grpc.StatusCode.UNKNOWN == failure.value.code()


async def test_a_streaming_handler_may_be_a_coroutine() -> None:
    """A streaming handler may write through its context instead of yielding."""

    async def write(_request: bytes, context: Any) -> None:
        await context.write(b"1")
        await context.write(b"2")

    handlers = {STREAM: grpc.unary_stream_rpc_method_handler(write)}
    async with Server(handlers) as channel:
        assert [b"1", b"2"] == [item async for item in channel.unary_stream(STREAM)(b"")]


async def test_abort_raises_an_ordinary_exception_after_the_status_has_left() -> None:
    """`context.abort` raises an `Exception`; running the handler again changes nothing."""
    caught: list[type] = []

    async def refuse(_request: bytes, context: Any) -> bytes:
        for code in (grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.NOT_FOUND):
            try:
                await context.abort(code, "no")
            except Exception as error:  # noqa: BLE001 - that is the point
                caught.append(type(error))
        return b""

    handlers = {UNARY: grpc.unary_unary_rpc_method_handler(refuse)}
    async with Server(handlers) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as failure:
            await channel.unary_unary(UNARY)(b"")
    assert grpc.StatusCode.PERMISSION_DENIED == failure.value.code()
    assert issubclass(caught[0], grpc.aio.AbortError)


async def test_setting_trailers_replaces_them() -> None:
    """The second `set_trailing_metadata` forgets what the first one said."""

    async def twice(request: bytes, context: Any) -> bytes:
        context.set_trailing_metadata((("a", "1"),))
        context.set_trailing_metadata((("b", "2"),))
        return request

    handlers = {UNARY: grpc.unary_unary_rpc_method_handler(twice)}
    async with Server(handlers) as channel:
        call = channel.unary_unary(UNARY)(b"")
        await call
        assert [("b", "2")] == [tuple(pair) for pair in await call.trailing_metadata()]


async def test_cancel_in_a_blocked_write_ends_the_generator_elsewhere() -> None:
    """A generator dropped in a blocked write is closed by another task than the one it ran in."""
    ran_in: list[Any] = []
    closed: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    async def flood(_request: bytes, _context: Any) -> AsyncIterator[bytes]:
        ran_in.append(asyncio.current_task())
        try:
            while True:
                yield b"x" * 1_000_000
        finally:
            closed.set_result(asyncio.current_task())

    handlers = {STREAM: grpc.unary_stream_rpc_method_handler(flood)}
    async with Server(handlers) as channel:
        call = channel.unary_stream(STREAM)(b"")
        await call.read()
        while not await _blocked(closed):
            pass
        call.cancel()
        assert await asyncio.wait_for(closed, 5) is not ran_in[0]


async def _blocked(closed: asyncio.Future[Any]) -> bool:
    """Let the server write until the windows are full."""
    for _ in range(2000):
        await asyncio.sleep(0)
    return not closed.done()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.filterwarnings("ignore:coroutine:RuntimeWarning")
async def test_opentelemetry_breaks_on_the_health_watch_unless_limited() -> None:
    """OpenTelemetry's interceptor fails on health's Watch; `Only` keeps it away from there."""

    async def first(interceptor: Any) -> Any:
        server = grpc.aio.server(interceptors=[interceptor])
        servicer = health.aio.HealthServicer()
        health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        try:
            async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
                watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest())
                answer = await watch.read()
                watch.cancel()
                return answer.status
        finally:
            await server.stop(0)

    broken = aio_server_interceptor(tracer_provider=TracerProvider())
    with pytest.raises((grpc.aio.AioRpcError, AttributeError)):
        await first(broken)
    assert health_pb2.HealthCheckResponse.SERVING == await first(Only(broken, lambda _: False))


@pytest.mark.parametrize(("outside", "code"), [(True, 14), (False, 0)])
async def test_spans_know_the_code_only_outside_the_errors_layer(outside: bool, code: int) -> None:
    """OpenTelemetry sees an abort made further in, and takes a failure further out for OK."""
    spans = Spans()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(spans))
    tracing = aio_server_interceptor(tracer_provider=provider)

    class Errors(grpc.aio.ServerInterceptor):
        async def intercept_service(
            self, continuation: Callable[..., Awaitable[Any]], handler_call_details: Any
        ) -> Any:
            inner = (await continuation(handler_call_details)).unary_unary

            async def wrapped(request: bytes, context: Any) -> bytes:
                try:
                    return await inner(request, context)
                except KeyError:
                    await context.abort(grpc.StatusCode.UNAVAILABLE, "down")

            return grpc.unary_unary_rpc_method_handler(wrapped)

    async def fail(_request: bytes, _context: Any) -> bytes:
        raise KeyError

    chain = [tracing, Errors()] if outside else [Errors(), tracing]
    async with Server({UNARY: grpc.unary_unary_rpc_method_handler(fail)}, chain) as channel:
        with pytest.raises(grpc.aio.AioRpcError):
            await channel.unary_unary(UNARY)(b"")
        # the client has its status before the server's handler has returned
        await asyncio.wait_for(spans.any.wait(), 10)
    (span,) = spans.get_finished_spans()
    assert code == (span.attributes or {}).get("rpc.grpc.status_code", 0)


async def test_a_pushback_beyond_the_deadline_hides_the_status() -> None:
    """A client that retries waits as told, and reports its deadline instead of the failure."""
    # so a time that is not within the deadline is not sent
    config = {
        "methodConfig": [
            {
                "name": [{}],
                "retryPolicy": {
                    "maxAttempts": 2,
                    "initialBackoff": "0.01s",
                    "maxBackoff": "0.01s",
                    "backoffMultiplier": 1,
                    "retryableStatusCodes": ["UNAVAILABLE"],
                },
            }
        ]
    }

    async def refuse(request: bytes, context: Any) -> bytes:
        trailers = () if request == b"none" else (("grpc-retry-pushback-ms", request.decode()),)
        await context.abort(grpc.StatusCode.UNAVAILABLE, "down", trailers)
        raise AssertionError

    handler = grpc.unary_unary_rpc_method_handler(refuse)
    server = Server({UNARY: handler})
    async with server:
        options = [("grpc.service_config", json.dumps(config))]
        async with grpc.aio.insecure_channel(server.target, options) as channel:
            seen = {}
            for pushback in (b"none", b"-1", b"5000"):
                with pytest.raises(grpc.aio.AioRpcError) as failed:
                    await channel.unary_unary(UNARY)(pushback, timeout=0.5)
                seen[pushback] = failed.value.code()
    assert {
        b"none": grpc.StatusCode.UNAVAILABLE,
        b"-1": grpc.StatusCode.UNAVAILABLE,
        b"5000": grpc.StatusCode.DEADLINE_EXCEEDED,
    } == seen


async def test_initial_metadata_go_out_while_the_handler_goes_on() -> None:
    """They are sent when the coroutine is begun; the rest of it only waits for that."""
    metadata, told = (("a", "b"),), asyncio.Event()

    async def handler(request: bytes, context: Any) -> AsyncIterator[bytes]:
        begun = Begun(context.send_initial_metadata(metadata))
        await told.wait()
        await begun
        yield request

    async with Server({STREAM: grpc.unary_stream_rpc_method_handler(handler)}) as channel:
        call = channel.unary_stream(STREAM)(b"x")
        assert "b" == dict(await asyncio.wait_for(call.initial_metadata(), 10))["a"]
        told.set()
        assert [b"x"] == [message async for message in call]


def test_the_core_knows_the_experiment_that_is_switched_off() -> None:
    """A version that does not know it would say so, and cost a switch of threads more."""
    code = "import grpc; grpc.insecure_channel('127.0.0.1:1').close()"
    names = ("event_engine_listener", "no_such_experiment")
    said = [
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "GRPC_EXPERIMENTS": f"-{name}", "GRPC_VERBOSITY": "debug"},
            capture_output=True,
            text=True,
            check=True,
        ).stderr
        for name in names
    ]
    assert [False, True] == ["Unknown experiment" in each for each in said]


def test_the_command_line_imports_no_grpc_before_it_says_how_its_core_is_to_work() -> None:
    """The core reads its environment once, when it is imported."""
    code = "import sys, gemini_backend.cli; print('grpc' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "False" == done.stdout.strip()
