"""RPCs that are in no service of this server."""

from __future__ import annotations

from typing import TYPE_CHECKING

import grpc
import pytest
from google.rpc.error_details_pb2 import ErrorInfo
from google.rpc.status_pb2 import Status

from gemini_backend.api.execute import SERVICE
from gemini_backend.errors import NotImplementedYet
from gemini_backend.rpc.call_factory import CallFactory
from gemini_backend.rpc.interceptors.base import is_ours
from gemini_backend.rpc.interceptors.edge import EdgeInterceptor
from gemini_backend.rpc.unknown_methods import UnknownMethods
from gemini_backend.telemetry.events import RpcFinished
from tests.support.composed import made_parts
from tests.support.layers.inproc import Details, FakeContext, collect
from tests.support.layers.recorder import Recorder

if TYPE_CHECKING:
    from tests.support.clock import FakeClock


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/gemini.backend.v1.ExecuteService/Exekute", "has no RPC 'Exekute'; it has Execute, Proc"),
        ("/a.b.Service/Run", "no service 'a.b.Service'; it has gemini.backend.v1.ExecuteService"),
        ("no path at all", "no service 'no path at all'; it has"),
        ("/" + "s" * 9000 + "/Run", f"no service '{'s' * 80}…'; it has"),
        ("/gemini.backend.v1.ExecuteService/" + "m" * 9000, f"no RPC '{'m' * 80}…'; it has"),
    ],
)
async def test_an_unknown_rpc_ends_with_a_reason(clock: FakeClock, path: str, said: str) -> None:
    """The message names what there is, however long the name of what there is not."""
    parts = made_parts(clock)
    heard = Recorder(parts.base.bus)
    edge = EdgeInterceptor(CallFactory(clock), parts.reception(), clock, parts.base.requests)
    handler = UnknownMethods([SERVICE], edge).service(Details(path))
    context = FakeContext()
    with pytest.raises(grpc.aio.AbortError):
        await collect(handler.stream_stream(None, context))
    status = Status.FromString(dict(context.trailers)["grpc-status-details-bin"])
    info = ErrorInfo.FromString(status.details[0].value)
    assert (grpc.StatusCode.UNIMPLEMENTED, NotImplementedYet.reason) == (
        context.ended_with,
        info.reason,
    )
    assert said in context.said
    (end,) = heard.of(RpcFinished)
    assert (path[:256], "BACKEND_NOT_IMPLEMENTED") == (end.method, end.reason)
    await parts.aclose()


def test_only_methods_of_the_contract_are_ours() -> None:
    """A path that merely begins like one is kept by no interceptor."""
    assert is_ours("/gemini.backend.v1.ExecuteService/Execute")
    assert not is_ours("/gemini.backend.v1.ExecuteService/Exekute")
