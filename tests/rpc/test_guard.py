"""What an RPC presents, at the edge and before services of others."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from google.rpc.error_details_pb2 import ErrorInfo
from google.rpc.status_pb2 import Status

from gemini.backend.v1 import execute_service_pb2 as pb
from gemini_backend.call import current_call
from gemini_backend.errors import Unauthenticated
from gemini_backend.identity.authenticator import Authenticator
from gemini_backend.identity.credentials import Certificate
from gemini_backend.identity.guard import Guard
from gemini_backend.principal import Principal, Role, granted
from gemini_backend.rpc.call_factory import CallFactory
from gemini_backend.rpc.guard import Guarded, RpcGuard
from gemini_backend.rpc.handlers import Malformed
from gemini_backend.rpc.interceptors.edge import EdgeInterceptor
from gemini_backend.rpc.interceptors.ends import EXECUTION_KEY
from gemini_backend.rpc.unread import Unread, malformed
from gemini_backend.telemetry.events import SILENT
from tests.support.composed import made_parts
from tests.support.layers.inproc import Details, FakeContext, collect
from tests.support.messages.calls import EXECUTE, PROCESS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from gemini_backend.composition.parts import Parts
    from tests.support.clock import FakeClock

KEY = "gbk_1_secret"
CHECK = "/grpc.health.v1.Health/Check"
ANN = Principal("acme", "ann", granted(Role.CALLER))
UPDATE = "/gemini.backend.v1.ConfigService/UpdateConfig"


class OneKey:
    """Knows one key; after one wait if it is told to."""

    def __init__(self, *, at_once: bool) -> None:
        """Know it `at_once` or after a wait."""
        self._at_once = at_once
        self.revoked = False

    def known(self, secret: str) -> Principal | None:
        return ANN if self._at_once and secret == KEY and not self.revoked else None

    async def verify(self, secret: str) -> Principal:
        await asyncio.sleep(0)
        if secret != KEY or self.revoked:
            raise Unauthenticated("nobody's key")
        return ANN

    def principal_of(self, certificate: Certificate) -> Principal:
        return Principal("acme", certificate.values("CN")[0], granted(Role.CALLER))

    async def failed(self, _peer: str) -> None:
        """Slow nobody down."""


def guard_of(*opened: str, at_once: bool = True) -> RpcGuard:
    """Return the guard of a door, which knows one key and every certificate."""
    keys = OneKey(at_once=at_once)
    authenticator = Authenticator(api_keys=keys, certificates=keys)

    def certificate_of(context: Any) -> Certificate | None:
        return getattr(context, "certificate", None)

    return RpcGuard(Guard(authenticator, opened, keys, SILENT), certificate_of)


@pytest.fixture
async def parts(clock: FakeClock) -> AsyncIterator[Parts]:
    """Return what a door is made of."""
    made = made_parts(clock)
    yield made
    await made.aclose()


def edge_of(parts: Parts, clock: FakeClock, *, at_once: bool = True) -> EdgeInterceptor:
    """Return an edge with a guard."""
    guard = guard_of(at_once=at_once)
    return EdgeInterceptor(
        CallFactory(clock), parts.reception(), clock, parts.base.requests, guard=guard
    )


def reason_of(context: FakeContext) -> str:
    """Return the reason that a call ended with."""
    status = Status.FromString(dict(context.trailers)["grpc-status-details-bin"])
    return ErrorInfo.FromString(status.details[0].value).reason


def showing(*metadata: tuple[str, str]) -> FakeContext:
    """Return the context of a call with metadata."""
    return FakeContext(metadata=metadata)


async def who(_request: Any, _context: Any) -> Any:
    """Answer with who asks, and what is left of the metadata."""
    call = current_call()
    return call.principal, dict(call.metadata)


async def whose(request: Any, context: Any) -> AsyncIterator[Any]:
    """Do the same in a stream."""
    yield await who(request, context)


@pytest.mark.parametrize("at_once", [True, False])
@pytest.mark.parametrize(
    "metadata",
    [
        ("authorization", f"Bearer {KEY}"),
        ("authorization", f"bearer {KEY} "),
        ("x-api-key", KEY),
    ],
)
async def test_the_call_is_its_principals_and_the_key_goes_no_further(
    parts: Parts, clock: FakeClock, metadata: tuple[str, str], at_once: bool
) -> None:
    """In both headers, for whole answers and streams, known at once or verified."""
    edge = edge_of(parts, clock, at_once=at_once)
    context = showing(metadata, ("x-other", "1"))
    expected = (ANN, {"x-other": "1"})
    assert expected == await edge.unary(PROCESS, who)(pb.ExecuteRequest(), context)
    context = showing(metadata, ("x-other", "1"))
    stream = edge.stream(EXECUTE, whose)(pb.ExecuteRequest(), context)
    assert [expected] == await collect(stream)
    assert EXECUTION_KEY == context.initial[0][0]


@pytest.mark.parametrize(
    "request_",
    [
        pb.ExecuteRequest(),
        Malformed(malformed("x")),
        Unread(pb.ExecuteRequest, b"\xff" * 1000, 10),
    ],
    ids=["good", "malformed", "large"],
)
@pytest.mark.parametrize(
    "metadata",
    [
        (),
        (("authorization", "Bearer gbk_2_x"),),
        (("authorization", KEY + "x"),),
        (("authorization", "Bearer gbk_2_x"), ("authorization", f"Bearer {KEY}")),
        (("authorization", f"Bearer {KEY}"), ("authorization", f"Bearer {KEY}")),
        (("x-api-key", KEY), ("x-api-key", "gbk_2_x")),
        (("x-api-key", "gbk_2_x"), ("x-api-key", KEY)),
    ],
)
async def test_nothing_of_a_request_is_looked_at_before_its_caller_is_known(
    parts: Parts, clock: FakeClock, metadata: tuple[tuple[str, str], ...], request_: Any
) -> None:
    """Neither malformed nor large: UNAUTHENTICATED comes first, and no execution begins."""
    edge, context = edge_of(parts, clock), showing(*metadata)
    with pytest.raises(grpc.aio.AbortError):
        await edge.unary(PROCESS, who)(request_, context)
    assert (grpc.StatusCode.UNAUTHENTICATED, "CALLER_UNAUTHENTICATED") == (
        context.ended_with,
        reason_of(context),
    )
    assert ("grpc-retry-pushback-ms", "-1") in context.trailers
    assert () == context.initial
    assert 0 == len(parts.base.running)


async def test_the_role_comes_before_the_request(parts: Parts, clock: FakeClock) -> None:
    """PERMISSION_DENIED for a request that is malformed as well."""
    edge, context = edge_of(parts, clock), showing(("x-api-key", KEY))
    with pytest.raises(grpc.aio.AbortError):
        await edge.unary(UPDATE, who)(Malformed(malformed("x")), context)
    assert (grpc.StatusCode.PERMISSION_DENIED, "CALLER_FORBIDDEN") == (
        context.ended_with,
        reason_of(context),
    )


async def test_a_certificate_counts_where_no_key_is_shown(parts: Parts, clock: FakeClock) -> None:
    """A wrong key is not made good by it."""
    edge = edge_of(parts, clock)
    context: Any = showing()
    context.certificate = Certificate("CN=bob", (("CN", "bob"),))
    principal, _ = await edge.unary(PROCESS, who)(pb.ExecuteRequest(), context)
    assert ("acme", "bob") == principal.owner
    context.metadata = (("x-api-key", "gbk_2_x"),)
    with pytest.raises(grpc.aio.AbortError):
        await edge.unary(PROCESS, who)(pb.ExecuteRequest(), context)


async def test_a_revoked_key_ends_its_calls(parts: Parts, clock: FakeClock) -> None:
    """Open streams fail as UNAUTHENTICATED; those of others go on."""
    edge, held = edge_of(parts, clock), asyncio.Event()
    ann = Principal("acme", "ann", granted(Role.CALLER), api_key="1")

    async def hold(_request: Any, _context: Any) -> AsyncIterator[int]:
        yield 1
        await held.wait()
        yield 2

    contexts = [showing(("x-api-key", KEY)) for _ in range(2)]
    streams = [edge.stream(EXECUTE, hold)(pb.ExecuteRequest(), one) for one in contexts]
    tasks = [asyncio.create_task(collect(one)) for one in streams]
    await asyncio.sleep(0.01)
    (first, (call, task)), _ = parts.base.running.tasks.items()
    parts.base.running.tasks[first] = (call.asked_by(ann, ()), task)
    parts.base.running.cut_short_of("1", "the API key keys/1 was revoked")
    held.set()
    with pytest.raises(grpc.aio.AbortError):
        await tasks[0]
    assert [1, 2] == await tasks[1]
    assert grpc.StatusCode.UNAUTHENTICATED == contexts[0].ended_with
    assert "keys/1 was revoked" in contexts[0].said


class Others:
    """A service of others: one handler of each kind; and a server that takes it."""

    def __init__(self, messages: int = 1) -> None:
        """Send so many messages in a stream; have no handler added yet."""
        self.added: tuple[Any, ...] = ()
        self._messages = messages

    def service(self, details: Any) -> Any:
        if details.method.endswith("Watch"):
            return grpc.unary_stream_rpc_method_handler(self.watch)
        return grpc.unary_unary_rpc_method_handler(self.check)

    async def check(self, _request: Any, _context: Any) -> str:
        return "checked"

    async def watch(self, _request: Any, _context: Any) -> AsyncIterator[str]:
        for _ in range(self._messages):
            yield "watched"

    def add_generic_rpc_handlers(self, handlers: tuple[Any, ...]) -> None:
        self.added = handlers


@pytest.mark.parametrize("opened", [("health",), ()])
@pytest.mark.parametrize("key", ["", "gbk_2_x", KEY])
async def test_services_of_others_are_guarded_unless_they_are_open(
    clock: FakeClock, opened: tuple[str, ...], key: str
) -> None:
    """Whole answers and streams, by the same rules as ours."""
    others = Others()
    door = Guarded(others, guard_of(*opened), CallFactory(clock))
    door.add_generic_rpc_handlers((others,))  # type: ignore[arg-type] # has what is asked of it
    passes = bool(opened) or key == KEY
    for method, attribute in ((CHECK, "unary_unary"), (f"{CHECK[:-5]}Watch", "unary_stream")):
        handler = getattr(others.added[0].service(Details(method)), attribute)
        context = showing(*((("x-api-key", key),) if key else ()))
        running = handler(None, context)
        answer = collect(running) if attribute == "unary_stream" else running
        if passes:
            assert await answer in ("checked", ["watched"])
            continue
        with pytest.raises(grpc.aio.AbortError):
            await answer
        assert grpc.StatusCode.UNAUTHENTICATED == context.ended_with


async def test_a_stream_of_another_service_ends_with_its_key(clock: FakeClock) -> None:
    """At its next message, which is not told."""
    keys, others = OneKey(at_once=True), Others(messages=2)
    keys_guard = RpcGuard(Guard(Authenticator(api_keys=keys), (), keys, SILENT), None)
    door = Guarded(others, keys_guard, CallFactory(clock))
    door.add_generic_rpc_handlers((others,))  # type: ignore[arg-type] # has what is asked of it
    watch = others.added[0].service(Details(f"{CHECK[:-5]}Watch"))
    context = showing(("x-api-key", KEY))
    told = watch.unary_stream(None, context)
    assert "watched" == await anext(told)
    keys.revoked = True
    with pytest.raises(grpc.aio.AbortError):
        await anext(told)
    assert grpc.StatusCode.UNAUTHENTICATED == context.ended_with
