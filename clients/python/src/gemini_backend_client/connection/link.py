"""The two ways to a server: a channel that blocks, and one for asyncio.

Everything that differs between the two clients is in this module and in `execution`. A channel is
opened on first use, so that a client made before a fork, or before an event loop runs, is fine.
"""

from __future__ import annotations

import asyncio
import os
import threading
from abc import ABC, abstractmethod
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Final, TypeVar, cast

import grpc
import grpc.aio

from gemini_backend_client.connection.retry import Retries, Throttle
from gemini_backend_client.connection.status import error_from
from gemini_backend_client.connection.stubs import AsyncStubs, Stubs
from gemini_backend_client.errors import CancelledError, ErrorDetails

if TYPE_CHECKING:
    from gemini_backend_client.connection.settings import Settings, Timeout
    from gemini_backend_client.connection.status import FailedCall
    from gemini_backend_client.errors import GeminiBackendError

__all__ = ["AsyncLink", "BlockingLink", "Link", "cancelled_here"]

_Req = TypeVar("_Req")
_Res = TypeVar("_Res")
_NOT_CONNECTED: Final = (
    grpc.ChannelConnectivity.CONNECTING,
    grpc.ChannelConnectivity.TRANSIENT_FAILURE,
)
_STATE_SECONDS: Final = 0.5
_CLOSED: Final = "this client is closed: create a new one"


def cancelled_here() -> CancelledError:
    """Return the error of a call that was ended by `close()` on this side."""
    message = "the call was cancelled by this client"
    return CancelledError(message, grpc.StatusCode.CANCELLED, ErrorDetails())


class Link(ABC):
    """A connection to a server."""

    def __init__(self, settings: Settings) -> None:
        """Prepare; nothing is opened yet."""
        self.settings = settings
        self.throttle = Throttle()

    @property
    @abstractmethod
    def channel(self) -> grpc.Channel | grpc.aio.Channel:
        """The channel, opened when it is first asked for."""

    @property
    @abstractmethod
    def stubs(self) -> Stubs:
        """The stubs on that channel."""

    def _retries(self, request: object, timeout: Timeout) -> Retries:
        """Return the attempts of a call."""
        settings = self.settings
        return Retries(settings.retry, self.throttle, request, settings.seconds(timeout))

    def error(self, failed: grpc.RpcError, timeout: Timeout) -> GeminiBackendError:
        """Return what a failed call of this connection means."""
        late = cast("FailedCall", failed).code() is grpc.StatusCode.DEADLINE_EXCEEDED
        connected = not late or self._state() not in _NOT_CONNECTED
        seconds = self.settings.seconds(timeout)
        return error_from(failed, self.settings.target, seconds, connected=connected)

    @abstractmethod
    def _state(self) -> grpc.ChannelConnectivity | None:
        """Return the state of the channel at this moment; None where that is not known."""


class BlockingLink(Link):
    """A connection whose calls block; safe to use from several threads."""

    def __init__(self, settings: Settings) -> None:
        """Prepare; nothing is opened yet."""
        super().__init__(settings)
        self._lock = threading.Lock()
        self._closed = False
        self._process = 0
        self._channel: grpc.Channel | None = None
        self._stubs: Stubs | None = None
        self._pausing: set[threading.Event] = set()

    @property
    def channel(self) -> grpc.Channel:
        """The channel, opened when it is first asked for in this process.

        Raises:
            RuntimeError: after `close`.
        """
        with self._lock:
            return self._open()

    @property
    def stubs(self) -> Stubs:
        """The stubs on that channel.

        Raises:
            RuntimeError: after `close`.
        """
        with self._lock:
            channel = self._open()
            if self._stubs is None:
                self._stubs = Stubs(channel)
            return self._stubs

    def unary(
        self,
        method: grpc.UnaryUnaryMultiCallable[_Req, _Res],
        request: _Req,
        timeout: Timeout,
    ) -> _Res:
        """Make a call and return its answer.

        Raises:
            GeminiBackendError: when it fails.
        """
        retries, over = self._retries(request, timeout), threading.Event()
        while True:
            left = retries.next_timeout()
            try:
                answer = method(request, timeout=left, metadata=self.settings.metadata_pairs())
            except grpc.RpcError as failed:
                pause = None if over.is_set() else retries.pause_after(failed)
                if pause is None:
                    done = retries.deleted_before(failed)
                    if done is not None:
                        return cast("_Res", done)
                    raise self.error(failed, timeout) from failed
                self.pause(pause, over)
                if over.is_set():
                    raise cancelled_here() from None
            else:
                retries.begun()
                return answer

    def pause(self, seconds: float, over: threading.Event) -> None:
        """Wait so long, or until `over` is set, which `close` does too."""
        with self._lock:
            if self._closed:
                over.set()
            self._pausing.add(over)
        try:
            over.wait(seconds)
        finally:
            with self._lock:
                self._pausing.discard(over)

    def close(self) -> None:
        """Close the connection; calls under way are cancelled."""
        with self._lock:
            self._closed = True
            for over in self._pausing:
                over.set()
            channel, self._channel, self._stubs = self._channel, None, None
            if channel is not None and self._process == os.getpid():
                channel.close()

    def _state(self) -> grpc.ChannelConnectivity | None:
        with self._lock:
            channel = self._channel
        if channel is None:
            return None
        heard: SimpleQueue[grpc.ChannelConnectivity] = SimpleQueue()
        hear = heard.put
        try:
            channel.subscribe(hear)  # which has the present state at once, from another thread
            return heard.get(timeout=_STATE_SECONDS)
        except (Empty, ValueError):  # the second one where the channel was closed meanwhile
            return None
        finally:
            channel.unsubscribe(hear)

    def _open(self) -> grpc.Channel:
        if self._closed:
            raise RuntimeError(_CLOSED)
        if self._channel is None or self._process != os.getpid():
            # After a fork the parent's channel is useless to the child, and not the child's to
            # close.
            self._channel, self._stubs = self._connect(), None
            self._process = os.getpid()
        return self._channel

    def _connect(self) -> grpc.Channel:
        target, options = self.settings.target, self.settings.channel_options()
        credentials = self.settings.channel_credentials()
        if credentials is None:
            return grpc.insecure_channel(target, options)
        return grpc.secure_channel(target, credentials, options)


class AsyncLink(Link):
    """A connection for asyncio; belongs to the event loop that first uses it."""

    def __init__(self, settings: Settings) -> None:
        """Prepare; nothing is opened yet."""
        super().__init__(settings)
        self._closed = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._channel: grpc.aio.Channel | None = None
        self._stubs: AsyncStubs | None = None
        self._pausing: set[asyncio.Event] = set()

    @property
    def channel(self) -> grpc.aio.Channel:
        """The channel, opened when it is first asked for.

        Raises:
            RuntimeError: after `close`, outside any event loop, or in another one than before.
        """
        if self._closed:
            raise RuntimeError(_CLOSED)
        loop = asyncio.get_running_loop()
        if self._channel is None:
            self._loop, self._channel = loop, self._connect()
        elif self._loop is not loop:
            msg = "this AsyncClient belongs to another event loop: create one for each loop"
            raise RuntimeError(msg)
        return self._channel

    @property
    def stubs(self) -> AsyncStubs:
        """The stubs on that channel.

        Raises:
            RuntimeError: as `channel`.
        """
        channel = self.channel
        if self._stubs is None:
            self._stubs = AsyncStubs(channel)
        return self._stubs

    async def unary(
        self,
        method: grpc.aio.UnaryUnaryMultiCallable[_Req, _Res],
        request: _Req,
        timeout: Timeout,  # noqa: ASYNC109 - gRPC's deadline, which the server is told of
    ) -> _Res:
        """Make a call and return its answer.

        Raises:
            GeminiBackendError: when it fails.
        """
        retries, over = self._retries(request, timeout), asyncio.Event()
        while True:
            left = retries.next_timeout()
            try:
                answer = await method(
                    request, timeout=left, metadata=self.settings.metadata_pairs()
                )
            except grpc.RpcError as failed:
                pause = None if over.is_set() else retries.pause_after(failed)
                if pause is None:
                    done = retries.deleted_before(failed)
                    if done is not None:
                        return cast("_Res", done)
                    raise self.error(failed, timeout) from failed
                await self.pause(pause, over)
                if over.is_set():
                    raise cancelled_here() from None
            else:
                retries.begun()
                return answer

    async def pause(self, seconds: float, over: asyncio.Event) -> None:
        """Wait so long, or until `over` is set, which `close` does too."""
        if self._closed:
            over.set()
        self._pausing.add(over)
        try:
            async with asyncio.timeout(seconds):
                await over.wait()
        except TimeoutError:
            pass
        finally:
            self._pausing.discard(over)

    async def close(self) -> None:
        """Close the connection; calls under way are cancelled."""
        self._closed = True
        for over in self._pausing:
            over.set()
        channel, self._channel, self._stubs = self._channel, None, None
        if channel is not None:
            await channel.close()

    def _state(self) -> grpc.ChannelConnectivity | None:
        return None if self._channel is None else self._channel.get_state()

    def _connect(self) -> grpc.aio.Channel:
        target, options = self.settings.target, self.settings.channel_options()
        credentials = self.settings.channel_credentials()
        if credentials is None:
            return grpc.aio.insecure_channel(target, options)
        return grpc.aio.secure_channel(target, credentials, options)
