"""Layers of an operator's own, from another package, put into the chain by configuration.

Covers: composition/extensions.py
"""

from __future__ import annotations

import json
from textwrap import dedent
from typing import TYPE_CHECKING, Any

import grpc
import pytest

from gemini.backend.v1 import execute_service_pb2 as pb
from gemini.backend.v1 import execute_service_pb2_grpc as rpc
from gemini.backend.v1 import health_service_pb2 as health_pb
from gemini.backend.v1 import health_service_pb2_grpc as health_rpc
from gemini.backend.v1 import metrics_service_pb2 as metrics_pb
from gemini.backend.v1 import metrics_service_pb2_grpc as metrics_rpc
from tests.support.layers.inproc import collect
from tests.support.messages.failures import failure_of
from tests.support.servers.process import run_backend, serving

if TYPE_CHECKING:
    from pathlib import Path

MODULE = '''
    """What a company adds to its server."""

    import grpc

    from gemini_backend.errors import InvalidRequest


    class NoSecrets:
        """A policy: refuses prompts that hold a word."""

        def __init__(self, options):
            self.word = options["word"]

        async def unary(self, call, request, proceed, /):
            self.check(request)
            return await proceed(call, request)

        def stream(self, call, request, proceed, /):
            self.check(request)
            return proceed(call, request)

        def check(self, request):
            if self.word in request.prompt:
                raise InvalidRequest(f"prompts must not hold {self.word!r}; leave it out")

        def __repr__(self):
            return f"NoSecrets({self.word!r})"


    class Signed(grpc.aio.ServerInterceptor):
        """Somebody else's interceptor: knows only gRPC, lets in who has the header."""

        def __init__(self, options):
            self.wanted = options.get("token", "")

        async def intercept_service(self, continuation, details):
            if ("x-signed", self.wanted) in tuple(details.invocation_metadata):
                return await continuation(details)

            async def refuse(request, context):
                await context.abort(grpc.StatusCode.PERMISSION_DENIED, "not signed")

            handler = await continuation(details)
            if handler is not None and handler.response_streaming:
                return grpc.unary_stream_rpc_method_handler(
                    refuse, handler.request_deserializer, handler.response_serializer
                )
            return grpc.unary_unary_rpc_method_handler(
                refuse,
                handler and handler.request_deserializer,
                handler and handler.response_serializer,
            )


    def broken(options):
        raise RuntimeError("no such directory")
'''
CONFIG = """
    [[interceptors]]
    name = "no-secrets"
    after = "progress"
    options = { word = "swordfish" }

    [[interceptors]]
    name = "signed"
    before = "deadline"
    options = { token = "yes" }
"""
SIGNED = (("x-signed", "yes"),)


@pytest.fixture
def package(tmp_path: Path) -> dict[str, str]:
    """Install a small distribution into a folder; return the environment that finds it."""
    (tmp_path / "acme_layers.py").write_text(dedent(MODULE))
    info = tmp_path / "acme_layers-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-layers\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[gemini_backend.interceptors]\n"
        "no-secrets = acme_layers:NoSecrets\n"
        "signed = acme_layers:Signed\n"
        "broken = acme_layers:broken\n"
    )
    return {"PYTHONPATH": str(tmp_path)}


def configured(folder: Path, toml: str) -> tuple[str, str]:
    """Write a configuration; return the options that name it."""
    file = folder / "gemini.toml"
    file.write_text(dedent(toml))
    return "--config", str(file)


async def test_a_policy_and_an_interceptor_act(package: dict[str, str], tmp_path: Path) -> None:
    """Both stand where configuration puts them, and both can refuse what they concern."""
    async with (
        serving(package, *configured(tmp_path, CONFIG)) as server,
        grpc.aio.insecure_channel(server.grpc) as channel,
    ):
        stub: Any = rpc.ExecuteServiceStub(channel)
        good, bad = pb.ExecuteRequest(prompt="hi"), pb.ExecuteRequest(prompt="the swordfish")
        assert (await collect(stub.Execute(good, metadata=SIGNED)))[-1].HasField("completed")
        process = pb.ProcessRequest(prompt="hi")
        assert (await stub.Process(process, metadata=SIGNED)).candidates

        failed = await failure_of(collect(stub.Execute(bad, metadata=SIGNED)))
        assert "CALLER_INVALID_REQUEST" == failed.reason
        assert "must not hold 'swordfish'" in failed.message
        for answer in (collect(stub.Execute(good)), stub.Process(process)):
            unsigned = await failure_of(answer)
            assert (grpc.StatusCode.PERMISSION_DENIED, "not signed") == (
                unsigned.code,
                unsigned.message,
            )

        health: Any = health_rpc.HealthServiceStub(channel)
        status = await health.GetBackendStatus(health_pb.GetBackendStatusRequest(), metadata=SIGNED)
        await server.stop()
    layers = {layer.name: layer.description for layer in status.layers}
    names = list(layers)
    assert names.index("progress") + 1 == names.index("no-secrets")
    assert names.index("signed") + 1 == names.index("deadline")
    assert "NoSecrets('swordfish')" == layers["no-secrets"]


async def test_what_an_interceptor_refuses_is_logged_and_counted(
    package: dict[str, str], tmp_path: Path
) -> None:
    """A call that somebody else's interceptor ended has its line, and is in flight no more."""
    async with (
        serving(package, *configured(tmp_path, CONFIG)) as server,
        grpc.aio.insecure_channel(server.grpc) as channel,
    ):
        stub: Any = rpc.ExecuteServiceStub(channel)
        await failure_of(stub.Process(pb.ProcessRequest(prompt="hi")))
        await failure_of(collect(stub.Execute(pb.ExecuteRequest(prompt="hi"))))
        metrics: Any = metrics_rpc.MetricsServiceStub(channel)
        ask = metrics_pb.GetMonitoringMetricsRequest()
        now = (await metrics.GetMonitoringMetrics(ask, metadata=SIGNED)).metrics
        assert 1 == now.rpcs_in_flight
        await server.stop()
    calls = [json.loads(line) for line in server.log().splitlines() if '"rpc"' in line]
    assert ["PERMISSION_DENIED", "PERMISSION_DENIED", "OK"] == [call["code"] for call in calls]


@pytest.mark.parametrize(
    ("toml", "said"),
    [
        ("name = 'no-secret'\nafter = 'validate'", "did you mean 'no-secrets'"),
        ("name = 'no-secrets'\nafter = 'validaet'", "there is no layer 'validaet'"),
        ("name = 'no-secrets'", "exactly one of before and after"),
        ("name = 'no-secrets'\nafter = 'validate'", "cannot be created"),
        ("name = 'broken'\nafter = 'validate'", "cannot be created"),
    ],
)
async def test_a_wrong_layer_is_one_sentence(
    package: dict[str, str], tmp_path: Path, toml: str, said: str
) -> None:
    """What cannot be mounted ends the start with exit code 2 and a sentence."""
    file = configured(tmp_path, f"[[interceptors]]\n{toml}\n")
    ports = ("--listen", "127.0.0.1:0", "--web-listen", "127.0.0.1:0")
    done = await run_backend("serve", *file, *ports, env=package)
    assert (2, "", 1) == (done.code, done.stdout, len(done.stderr.splitlines())), done
    assert said in done.stderr
