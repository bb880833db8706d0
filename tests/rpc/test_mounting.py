"""Interceptors of ours stand round the handlers once; other people's are asked for each call."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import grpc

from gemini_backend.rpc.interceptors.base import WrappingInterceptor
from gemini_backend.rpc.interceptors.only import Only
from gemini_backend.rpc.mounting import mount
from tests.support.layers.inproc import Details, FakeContext, unary_handler
from tests.support.messages.calls import EXECUTE, PROCESS

if TYPE_CHECKING:
    from gemini_backend.rpc.interceptors.base import UnaryHandler


class Adding(WrappingInterceptor):
    """Adds its name behind the answer."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self._name = name

    def unary(self, method: str, inner: UnaryHandler) -> UnaryHandler:
        async def handler(request: Any, context: Any) -> Any:
            return f"{await inner(request, context)} {self._name}"

        return handler


async def answer(request: Any, _context: Any) -> str:
    return f"answer to {request}"


SERVED = unary_handler(answer)


class Service(grpc.GenericRpcHandler):
    """Serves two methods, of which one is ours."""

    def service(self, handler_call_details: Any) -> Any:
        return SERVED if handler_call_details.method in {PROCESS, "/somebody.Else/Get"} else None


async def test_ours_stand_round_the_handlers_of_ours() -> None:
    """The first is the outermost; grpc.aio is left none to ask, and has one handler for a call."""
    interceptors, (handler,) = mount([Adding("inner's"), Adding("outer")][::-1], [Service()])
    found: Any = handler.service(Details(PROCESS))
    said = await found.unary_unary("x", FakeContext())
    assert ("answer to x inner's outer", ()) == (said, interceptors)
    assert found is handler.service(Details(PROCESS))


def test_what_is_not_ours_is_left_to_others() -> None:
    """A method that is not of the contract, or that nobody serves, is not found."""
    _, (handler,) = mount([Adding("ours")], [Service()])
    for method in ("/somebody.Else/Get", EXECUTE):
        assert handler.service(Details(method)) is None


def test_among_others_they_stay_interceptors() -> None:
    """Other people's stand where the configuration puts them, so grpc.aio asks all in order."""
    mounted = [Adding("ours"), Only(Adding("theirs"), lambda _method: True)]
    services = [Service()]
    assert (mounted, services) == mount(mounted, services)
