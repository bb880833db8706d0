"""One implementation for two clients: an operation makes a plan, the client carries it out.

A plan says what to call with which request, and how to read the answer; it can be carried out on a
blocking link or on one for asyncio. `operation` turns a method that returns a plan into one that
returns the plan's result: on a `Surface` of a blocking link the result itself, on one of an async
link an awaitable or an async iterator of it. Type checkers see each with its own signature.
"""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Coroutine, Iterator
from typing import (
    TYPE_CHECKING,
    Any,
    Concatenate,
    Generic,
    ParamSpec,
    TypeVar,
    cast,
    overload,
)

from gemini_backend_client.calls.execution import AsyncExecution, Execution
from gemini_backend_client.connection import AsyncLink, AsyncMessages, BlockingLink, Link, Messages

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import grpc
    import grpc.aio

    from gemini.backend.v1.execute_service_pb2 import ExecuteRequest, ExecuteResponse
    from gemini_backend_client.connection import Timeout

__all__ = ["Pages", "Plan", "Results", "Run", "Surface", "Unary", "operation"]

_B_co = TypeVar("_B_co", covariant=True)
_A_co = TypeVar("_A_co", covariant=True)
_P = ParamSpec("_P")
_Req = TypeVar("_Req")
_Res = TypeVar("_Res")
_Out = TypeVar("_Out")
_Link = TypeVar("_Link", bound=Link)


class Surface(Generic[_Link]):
    """Something with operations, on a link."""

    def __init__(self, link: _Link) -> None:
        """Use `link`."""
        self._link: _Link = link


class Plan(ABC, Generic[_B_co, _A_co]):
    """A call to be made, and how to read its answer."""

    @abstractmethod
    def blocking(self, link: BlockingLink) -> _B_co:
        """Carry it out here and now."""

    @abstractmethod
    def asynchronous(self, link: AsyncLink) -> _A_co:
        """Carry it out on the running event loop."""


class Unary(Plan[_Out, Coroutine[Any, Any, _Out]], Generic[_Out]):
    """One request, one answer."""

    def __init__(
        self,
        method: grpc.UnaryUnaryMultiCallable[_Req, _Res],
        request: _Req,
        read: Callable[[_Res], _Out],
        timeout: Timeout,
    ) -> None:
        """Plan to call `method` and to hand its answer to `read`."""
        self._method: Any = method
        self._request = request
        self._read: Callable[[Any], _Out] = read
        self._timeout = timeout

    def blocking(self, link: BlockingLink) -> _Out:
        """Return what was read from the answer."""
        return self._read(link.unary(self._method, self._request, self._timeout))

    async def asynchronous(self, link: AsyncLink) -> _Out:
        """Return what was read from the answer."""
        return self._read(await link.unary(self._method, self._request, self._timeout))


class Pages(Plan[Iterator[_Out], AsyncIterator[_Out]], Generic[_Out]):
    """A list, page by page, each asked for when it is needed."""

    def __init__(
        self,
        method: grpc.UnaryUnaryMultiCallable[_Req, _Res],
        request: _Req,
        items: Callable[[_Res], Sequence[_Out]],
        timeout: Timeout,
    ) -> None:
        """Plan to call `method` until there is no next page; `items` finds a page's items."""
        self._method: Any = method
        self._request: Any = request
        self._items: Callable[[Any], Sequence[_Out]] = items
        self._timeout = timeout

    def blocking(self, link: BlockingLink) -> Iterator[_Out]:
        """Give the items of all pages."""
        more = True
        while more:
            page = link.unary(self._method, self._request, self._timeout)
            yield from self._items(page)
            more = self._turn(page)

    async def asynchronous(self, link: AsyncLink) -> AsyncIterator[_Out]:
        """Give the items of all pages."""
        more = True
        while more:
            page = await link.unary(self._method, self._request, self._timeout)
            for item in self._items(page):
                yield item
            more = self._turn(page)

    def _turn(self, page: Any) -> bool:
        """Turn to the next page; False when there is none."""
        self._request.page_token = page.next_page_token
        return bool(page.next_page_token)


class Results(Plan[Iterator[_Out], AsyncIterator[_Out]], Generic[_Out]):
    """One request, many answers; leaving early cancels the call."""

    def __init__(
        self,
        method: grpc.UnaryStreamMultiCallable[_Req, _Res],
        request: _Req,
        read: Callable[[_Res], _Out],
        timeout: Timeout,
    ) -> None:
        """Plan to stream from `method` and to hand each answer to `read`."""
        self._method: Any = method
        self._request: Any = request
        self._read: Callable[[Any], _Out] = read
        self._timeout = timeout

    def blocking(self, link: BlockingLink) -> Iterator[_Out]:
        """Give what was read from each answer, as it comes."""
        with Messages(link, self._method, self._request, self._timeout) as messages:
            for message in messages:
                yield self._read(message)

    async def asynchronous(self, link: AsyncLink) -> AsyncIterator[_Out]:
        """Give what was read from each answer, as it comes."""
        messages: AsyncMessages[Any]
        async with AsyncMessages(link, self._method, self._request, self._timeout) as messages:
            async for message in messages:
                yield self._read(message)


class Run(Plan[Execution, AsyncExecution]):
    """One execution, streamed."""

    def __init__(
        self,
        method: grpc.UnaryStreamMultiCallable[ExecuteRequest, ExecuteResponse],
        request: ExecuteRequest,
        timeout: Timeout,
    ) -> None:
        """Plan to stream `request`."""
        self._method = method
        self._request = request
        self._timeout = timeout

    def blocking(self, link: BlockingLink) -> Execution:
        """Start it."""
        return Execution(Messages(link, self._method, self._request, self._timeout))

    def asynchronous(self, link: AsyncLink) -> AsyncExecution:
        """Start it."""
        method = cast(
            "grpc.aio.UnaryStreamMultiCallable[ExecuteRequest, ExecuteResponse]", self._method
        )
        return AsyncExecution(AsyncMessages(link, method, self._request, self._timeout))


class operation(Generic[_P, _B_co, _A_co]):  # noqa: N801 - a decorator, written as one
    """Makes a method of a `Surface` out of one that returns a plan."""

    def __init__(self, plan: Callable[Concatenate[Any, _P], Plan[_B_co, _A_co]]) -> None:
        """Wrap `plan`."""
        self._plan = plan
        functools.update_wrapper(cast("Any", self), plan)

    @overload
    def __get__(self, surface: Surface[BlockingLink], owner: Any) -> Callable[_P, _B_co]: ...

    @overload
    def __get__(self, surface: Surface[AsyncLink], owner: Any) -> Callable[_P, _A_co]: ...

    def __get__(self, surface: Any, owner: Any) -> Any:
        """Return the method for the kind of link that `surface` is on."""
        if surface is None:
            return self._plan
        plan = self._plan.__get__(surface, owner)

        @functools.wraps(plan)
        def carry_out(*args: _P.args, **kwargs: _P.kwargs) -> object:
            planned = plan(*args, **kwargs)
            link = surface._link  # noqa: SLF001 - a friend of this module's own
            if isinstance(link, BlockingLink):
                return planned.blocking(link)
            return planned.asynchronous(link)

        return carry_out
