"""Which methods are retried: those that the contract says may be repeated, and no others."""

from __future__ import annotations

import asyncio
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from google.protobuf.descriptor_pb2 import MethodOptions
from google.protobuf.message_factory import GetMessageClass

from clients.python.tests.fake_backend import PATIENCE
from gemini_backend_client import AsyncClient, Client, RetryPolicy, UnavailableError
from gemini_backend_client.connection.stubs import CONTRACT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from google.protobuf.descriptor import MethodDescriptor

_FAST = RetryPolicy(initial_backoff=0.01, max_backoff=0.02)
_METHODS = [
    method
    for file in CONTRACT
    for service in file.services_by_name.values()
    for method in service.methods
    if not method.client_streaming
]
_SESSION, _KEEP = {"session": "sessions/s"}, {"on_disconnect": {"mode": "DISCONNECT_MODE_KEEP"}}
# Whether a request of these methods may be repeated is said by the request, not by the level.
_BY_REQUEST: dict[str, list[tuple[dict[str, Any], bool]]] = {
    "Execute": [
        ({}, True),
        (_SESSION, False),
        (_KEEP, False),
        ({**_SESSION, "request_id": "r"}, True),
        ({**_KEEP, "request_id": "r"}, False),
        ({**_SESSION, **_KEEP, "request_id": "r"}, True),
    ],
    "ExecuteCode": [({}, True), (_SESSION, False), ({**_SESSION, "request_id": "r"}, True)],
    "BatchExecute": [
        ({"items": [{}]}, True),
        ({"items": [{}, _SESSION]}, False),
        ({"items": [{**_SESSION, "request_id": "r"}]}, True),
    ],
    "CreateSession": [({}, False), ({"request_id": "r"}, True)],
    "CreateBatch": [({}, False), ({"request_id": "r"}, True)],
}
_BY_REQUEST["Process"] = _BY_REQUEST["Execute"]
_CASES = [
    (method, fields, expected)
    for method in _METHODS
    for fields, expected in _BY_REQUEST.get(
        method.name,
        [({}, method.GetOptions().idempotency_level != MethodOptions.IDEMPOTENCY_UNKNOWN)],
    )
]


def _path(method: MethodDescriptor) -> str:
    return f"/{method.containing_service.full_name}/{method.name}"


class _Flaky(grpc.GenericRpcHandler):
    """Fails the first attempt at each method with UNAVAILABLE, and answers the second."""

    def __init__(self) -> None:
        self.attempts: Counter[str] = Counter()

    def service(self, details: Any) -> Any:
        method = next(one for one in _METHODS if _path(one) == details.method)

        def whole(_request: bytes, context: grpc.ServicerContext) -> bytes:
            self.attempts[method.name] += 1
            if self.attempts[method.name] == 1:
                context.abort(grpc.StatusCode.UNAVAILABLE, "down")
            return b""

        def stream(request: bytes, context: grpc.ServicerContext) -> Iterator[bytes]:
            yield whole(request, context)

        if method.server_streaming:
            return grpc.unary_stream_rpc_method_handler(stream)
        return grpc.unary_unary_rpc_method_handler(whole)


@pytest.fixture
def flaky() -> Iterator[tuple[_Flaky, str]]:
    """Give a server of every method, and where it is."""
    handler, server = _Flaky(), grpc.server(ThreadPoolExecutor(4))
    server.add_generic_rpc_handlers((handler,))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield handler, f"127.0.0.1:{port}"
    server.stop(grace=None).wait(PATIENCE)


def _stub_of(stubs: Any, method: MethodDescriptor) -> Any:
    """Return a method of the stubs, which are found by their class's name."""
    kind = f"{method.containing_service.name}Stub"
    (stub,) = (stub for stub in vars(stubs).values() if type(stub).__name__ == kind)
    return getattr(stub, method.name)


@pytest.mark.parametrize(
    ("method", "fields", "expected"),
    _CASES,
    ids=[f"{m.name}-{n}" for n, (m, _, _) in enumerate(_CASES)],
)
@pytest.mark.parametrize("blocking", [True, False], ids=["blocking", "asyncio"])
def test_what_may_be_repeated_is_retried(
    flaky: tuple[_Flaky, str],
    method: MethodDescriptor,
    fields: dict[str, Any],
    *,
    expected: bool,
    blocking: bool,
) -> None:
    """Two attempts where the contract, or the request, says so; otherwise one, and its error."""
    handler, target = flaky
    request = GetMessageClass(method.input_type)(**fields)

    def ask() -> None:
        with Client(target, retry=_FAST, timeout=PATIENCE) as client:
            stub = _stub_of(client.stubs, method)
            if method.server_streaming:
                list(client.stream(stub, request))
            else:
                client.call(stub, request)

    async def ask_under_asyncio() -> None:
        async with AsyncClient(target, retry=_FAST, timeout=PATIENCE) as client:
            stub = _stub_of(client.stubs, method)
            if method.server_streaming:
                _ = [message async for message in client.stream(stub, request)]
            else:
                await client.call(stub, request)

    retried = True
    try:
        ask() if blocking else asyncio.run(ask_under_asyncio())
    except UnavailableError:
        retried = False
    assert (expected, 2 if expected else 1) == (retried, handler.attempts[method.name])


def test_every_request_belongs_to_one_method() -> None:
    """Retries go by the kind of request, so no two methods may share one."""
    kinds = [method.input_type.full_name for method in _METHODS]
    assert len(kinds) == len(set(kinds))
