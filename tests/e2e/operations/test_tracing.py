"""OpenTelemetry by its standard variables: a span a call, and no harm when nobody collects.

Covers: telemetry/tracing.py
"""

from __future__ import annotations

import json
import re
import socket
import time
from typing import Any

import grpc

from gemini.backend.v1 import execute_service_pb2 as pb
from gemini.backend.v1 import execute_service_pb2_grpc as rpc
from tests.support.layers.inproc import collect
from tests.support.messages.failures import failure_of
from tests.support.servers.process import run_backend, serving

OK, UNAVAILABLE = 0, grpc.StatusCode.UNAVAILABLE.value[0]


def spans_in(log: str) -> list[dict[str, Any]]:
    """Return the spans that the console exporter wrote among the log lines."""
    decoder = json.JSONDecoder()
    starts = re.finditer(r'^\{\n    "name"', log, re.MULTILINE)
    return [decoder.raw_decode(log, start.start())[0] for start in starts]


async def test_each_call_has_a_span_with_its_code() -> None:
    """Success and failure, of both kinds of call, each give one span with the caller's code."""
    async with serving({"OTEL_TRACES_EXPORTER": "console"}) as server:
        async with grpc.aio.insecure_channel(server.grpc) as channel:
            stub: Any = rpc.ExecuteServiceStub(channel)
            await collect(stub.Execute(pb.ExecuteRequest(prompt="hello")))
            await stub.Process(pb.ProcessRequest(prompt="hello"))
            broken = "hello [[fault: overloaded]]"
            await failure_of(collect(stub.Execute(pb.ExecuteRequest(prompt=broken))))
            await failure_of(stub.Process(pb.ProcessRequest(prompt=broken)))
        assert 0 == await server.stop()
    spans = spans_in(server.log())
    seen = [
        (span["name"].rpartition("/")[2], span["attributes"]["rpc.grpc.status_code"])
        for span in spans
    ]
    wanted = [("Execute", OK), ("Process", OK), ("Execute", UNAVAILABLE), ("Process", UNAVAILABLE)]
    assert sorted(wanted) == sorted(seen)
    assert {"gemini-backend"} == {s["resource"]["attributes"]["service.name"] for s in spans}
    assert "hello" not in server.log()


async def test_a_span_continues_the_callers_trace() -> None:
    """A traceparent in the metadata becomes the parent of the call's span."""
    trace, parent = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
    async with serving({"OTEL_TRACES_EXPORTER": "console"}) as server:
        async with grpc.aio.insecure_channel(server.grpc) as channel:
            metadata = (("traceparent", f"00-{trace}-{parent}-01"),)
            stub: Any = rpc.ExecuteServiceStub(channel)
            await stub.Process(pb.ProcessRequest(prompt="hi"), metadata=metadata)
        await server.stop()
    (span,) = spans_in(server.log())
    assert (f"0x{trace}", f"0x{parent}") == (span["context"]["trace_id"], span["parent_id"])


async def test_a_collector_that_is_not_there_harms_nobody() -> None:
    """With an endpoint at a closed port calls are served as fast, and the server ends in time."""
    with socket.create_server(("127.0.0.1", 0)) as held:
        port = held.getsockname()[1]
    async with serving({"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{port}"}) as server:
        async with grpc.aio.insecure_channel(server.grpc) as channel:
            stub: Any = rpc.ExecuteServiceStub(channel)
            began = time.monotonic()
            for _ in range(20):
                await stub.Process(pb.ProcessRequest(prompt="hi"))
            assert time.monotonic() - began < 2
        began = time.monotonic()
        assert 0 == await server.stop()
        assert time.monotonic() - began < 5


async def test_a_wrong_exporter_is_one_sentence() -> None:
    """An exporter that is not to be had ends the start with a sentence that names the choice."""
    done = await run_backend(
        "serve",
        *("--listen", "127.0.0.1:0", "--web-listen", "127.0.0.1:0"),
        env={"OTEL_TRACES_EXPORTER": "zipkin", "GEMINI_API_KEY": "k"},
    )
    assert (2, "", 1) == (done.code, done.stdout, len(done.stderr.splitlines())), done
    assert "OTEL_TRACES_EXPORTER" in done.stderr
