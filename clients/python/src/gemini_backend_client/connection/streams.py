"""Streams of messages from the server, for both clients.

A stream is open from the moment it is made. Leaving its iteration early cancels the call at the
server, as `close` does, and as dropping the stream does. A call that fails before its first message
is made again where the retry policy says so; one that loses its connection while its execution runs
on at the server is resumed. That is done by whoever reads the stream.
"""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar

import grpc
import grpc.aio

from gemini_backend_client.connection.link import cancelled_here
from gemini_backend_client.connection.resumption import name_in, resumption_of
from gemini_backend_client.connection.retry import Retries

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from gemini_backend_client.connection.link import AsyncLink, BlockingLink
    from gemini_backend_client.connection.settings import Timeout
    from gemini_backend_client.errors import GeminiBackendError

__all__ = ["AsyncMessages", "Messages"]

_Req = TypeVar("_Req")
_Res = TypeVar("_Res")


class Messages(Generic[_Res]):
    """The messages of a streaming call, each as it arrives; iterating blocks for the next."""

    def __init__(
        self,
        link: BlockingLink,
        method: grpc.UnaryStreamMultiCallable[_Req, _Res],
        request: _Req,
        timeout: Timeout,
    ) -> None:
        """Make the call."""
        settings = link.settings
        self._link = link
        self._method: Any = method
        self._request = request
        self._timeout = timeout
        self._retries = Retries(settings.retry, link.throttle, request, settings.seconds(timeout))
        self._resumption = resumption_of(request)
        self._over = threading.Event()
        self._lock = threading.Lock()
        self._call = self._make()

    def __iter__(self) -> Iterator[_Res]:
        """Give the messages; leaving the loop early cancels the call.

        Raises:
            GeminiBackendError: when the stream fails, `CancelledError` after `close`.
        """
        try:
            again = True
            while again:
                again = False
                try:
                    for message in self._call:
                        self._retries.begun()
                        if self._resumption is not None:
                            self._resumption.took(message)
                            self._retries.went_on()
                        yield message
                except grpc.RpcError as failed:
                    self._go_on_after(failed)
                    again = True
        finally:
            self.close()

    def close(self) -> None:
        """Cancel the call at the server; nothing happens when it has ended."""
        self._over.set()
        with self._lock:
            self._call.cancel()

    def execution(self) -> str:
        """Wait for the server's first word; return the execution's name, empty for none."""
        try:
            return name_in(self._call.initial_metadata())
        except grpc.RpcError:
            return ""  # whoever reads the stream is told why

    def _make(self) -> Any:
        return self._method(
            self._request,
            timeout=self._retries.next_timeout(),
            metadata=self._link.settings.metadata_pairs(),
        )

    def _go_on_after(self, failed: grpc.RpcError) -> None:
        """Make the call again, after a pause.

        Raises:
            GeminiBackendError: the failure is final, or the stream was closed meanwhile.
        """
        pause = None if self._over.is_set() else _pause_after(self, failed)
        if pause is None:
            raise self._link.error(failed, self._timeout) from failed
        self._link.pause(pause, self._over)
        with self._lock:
            if self._over.is_set():
                raise cancelled_here() from None
            try:
                self._call = self._make()
            except ValueError:  # the channel was closed in this very moment
                raise cancelled_here() from None

    def __enter__(self) -> Self:
        """Return the stream itself."""
        return self

    def __exit__(self, *exc_info: object) -> None:
        """Close it."""
        self.close()


class AsyncMessages(Generic[_Res]):
    """The messages of a streaming call, each as it arrives, for asyncio."""

    def __init__(
        self,
        link: AsyncLink,
        method: grpc.aio.UnaryStreamMultiCallable[_Req, _Res],
        request: _Req,
        timeout: Timeout,
    ) -> None:
        """Make the call."""
        settings = link.settings
        self._link = link
        self._method: Any = method
        self._request = request
        self._timeout = timeout
        self._failure: GeminiBackendError | None = None
        self._retries = Retries(settings.retry, link.throttle, request, settings.seconds(timeout))
        self._resumption = resumption_of(request)
        self._over = asyncio.Event()
        self._call = self._make()

    async def __aiter__(self) -> AsyncIterator[_Res]:
        """Give the messages; leaving the loop early cancels the call.

        Raises:
            GeminiBackendError: when the stream fails, `CancelledError` after `close`.
        """
        if self._failure is not None:
            raise self._failure
        try:
            again = True
            while again:
                again = False
                try:
                    async for message in self._call:
                        self._retries.begun()
                        if self._resumption is not None:
                            self._resumption.took(message)
                            self._retries.went_on()
                        yield message
                except grpc.RpcError as failed:
                    await self._go_on_after(failed)
                    again = True
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if self._over.is_set() and task is not None and not task.cancelling():
                # The call was cancelled by `close`, not the task that reads it.
                raise cancelled_here() from None
            raise
        finally:
            self.close()

    def close(self) -> None:
        """Cancel the call at the server; nothing happens when it has ended."""
        self._over.set()
        self._call.cancel()

    async def execution(self) -> str:
        """Wait for the server's first word; return the execution's name, empty for none."""
        try:
            return name_in(await self._call.initial_metadata())
        except grpc.RpcError:
            return ""  # whoever reads the stream is told why

    def _make(self) -> Any:
        return self._method(
            self._request,
            timeout=self._retries.next_timeout(),
            metadata=self._link.settings.metadata_pairs(),
        )

    async def _go_on_after(self, failed: grpc.RpcError) -> None:
        """Make the call again, after a pause.

        Raises:
            GeminiBackendError: the failure is final, or the stream was closed meanwhile.
        """
        pause = None if self._over.is_set() else _pause_after(self, failed)
        if pause is None:
            self._failure = self._link.error(failed, self._timeout)
            raise self._failure from failed
        await self._link.pause(pause, self._over)
        if self._over.is_set():
            raise cancelled_here() from None
        self._call = self._make()

    async def __aenter__(self) -> Self:
        """Return the stream itself."""
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        """Close it."""
        self.close()


def _pause_after(stream: Messages[Any] | AsyncMessages[Any], failed: Any) -> float | None:
    """Return the seconds before the next call, which may take the execution up; else None."""
    resumption, retries = stream._resumption, stream._retries  # noqa: SLF001 - both are of this module
    if resumption is not None:
        resumption.name = resumption.name or name_in(failed.initial_metadata())
        request: Any = resumption.request()
        pause = None if request is None else retries.pause_before_resuming(failed)
        if pause is not None:
            stream._request = request  # noqa: SLF001
            return pause
    return retries.pause_after(failed)
