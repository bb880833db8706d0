"""The two clients."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self, TypeVar

from gemini_backend_client.calls.operations import Operations
from gemini_backend_client.connection.link import AsyncLink, BlockingLink
from gemini_backend_client.connection.settings import DEFAULT
from gemini_backend_client.connection.streams import AsyncMessages, Messages

if TYPE_CHECKING:
    import grpc
    import grpc.aio

    from gemini_backend_client.connection.settings import Settings, Timeout
    from gemini_backend_client.connection.stubs import AsyncStubs, Stubs

__all__ = ["AsyncClient", "Client"]

_Req = TypeVar("_Req")
_Res = TypeVar("_Res")


class Client(Operations[BlockingLink]):
    """A client whose calls block; safe to share between threads.

    The connection is opened on first use. A client that is made, but not used, before a fork works
    in parent and children.
    """

    def _connect(self, settings: Settings) -> BlockingLink:
        return BlockingLink(settings)

    @property
    def stubs(self) -> Stubs:
        """The generated stubs, for what this class has no method for; see `call`, `stream`."""
        return self._link.stubs

    def call(
        self,
        method: grpc.UnaryUnaryMultiCallable[_Req, _Res],
        request: _Req,
        *,
        timeout: Timeout = DEFAULT,
    ) -> _Res:
        """Call a method of `stubs` with this client's deadline, metadata and typed errors.

        Raises:
            GeminiBackendError: when the call fails.
        """
        return self._link.unary(method, request, timeout)

    def stream(
        self,
        method: grpc.UnaryStreamMultiCallable[_Req, _Res],
        request: _Req,
        *,
        timeout: Timeout = DEFAULT,
    ) -> Messages[_Res]:
        """Call a streaming method of `stubs` likewise; iterate what comes back."""
        return Messages(self._link, method, request, timeout)

    def close(self) -> None:
        """Close the connection; calls under way are cancelled."""
        self._link.close()

    def __enter__(self) -> Self:
        """Return the client itself."""
        return self

    def __exit__(self, *exc_info: object) -> None:
        """Close it."""
        self.close()


class AsyncClient(Operations[AsyncLink]):
    """A client for asyncio, with the operations of `Client`; one for each event loop."""

    def _connect(self, settings: Settings) -> AsyncLink:
        return AsyncLink(settings)

    @property
    def stubs(self) -> AsyncStubs:
        """The generated stubs, for what this class has no method for; see `call`, `stream`."""
        return self._link.stubs

    async def call(
        self,
        method: grpc.aio.UnaryUnaryMultiCallable[_Req, _Res],
        request: _Req,
        *,
        timeout: Timeout = DEFAULT,  # noqa: ASYNC109 - gRPC's deadline, which the server is told of
    ) -> _Res:
        """Call a method of `stubs` with this client's deadline, metadata and typed errors.

        Raises:
            GeminiBackendError: when the call fails.
        """
        return await self._link.unary(method, request, timeout)

    def stream(
        self,
        method: grpc.aio.UnaryStreamMultiCallable[_Req, _Res],
        request: _Req,
        *,
        timeout: Timeout = DEFAULT,
    ) -> AsyncMessages[_Res]:
        """Call a streaming method of `stubs` likewise; iterate what comes back."""
        return AsyncMessages(self._link, method, request, timeout)

    async def close(self) -> None:
        """Close the connection; calls under way are cancelled."""
        await self._link.close()

    async def __aenter__(self) -> Self:
        """Return the client itself."""
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        """Close it."""
        await self.close()
