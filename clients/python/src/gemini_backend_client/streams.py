"""Streams of messages from the server, for both clients.

A stream is open from the moment it is made. Leaving its iteration early cancels the call at the
server, as `close` does, and as dropping the stream does.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Generic, Self, TypeVar

import grpc
import grpc.aio

from gemini_backend_client.link import cancelled_here

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from gemini_backend_client.errors import GeminiBackendError
    from gemini_backend_client.link import AsyncLink, BlockingLink
    from gemini_backend_client.settings import Timeout

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
        self._timeout = timeout
        self._call = method(
            request, timeout=settings.seconds(timeout), metadata=settings.metadata_pairs()
        )

    def __iter__(self) -> Iterator[_Res]:
        """Give the messages; leaving the loop early cancels the call.

        Raises:
            GeminiBackendError: when the stream fails, `CancelledError` after `close`.
        """
        try:
            yield from self._call
        except grpc.RpcError as failed:
            raise self._link.error(failed, self._timeout) from failed
        finally:
            self.close()

    def close(self) -> None:
        """Cancel the call at the server; nothing happens when it has ended."""
        self._call.cancel()

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
        self._timeout = timeout
        self._closed = False
        self._failure: GeminiBackendError | None = None
        self._call = method(
            request, timeout=settings.seconds(timeout), metadata=settings.metadata_pairs()
        )

    async def __aiter__(self) -> AsyncIterator[_Res]:
        """Give the messages; leaving the loop early cancels the call.

        Raises:
            GeminiBackendError: when the stream fails, `CancelledError` after `close`.
        """
        if self._failure is not None:
            raise self._failure
        try:
            async for message in self._call:
                yield message
        except grpc.RpcError as failed:
            self._failure = self._link.error(failed, self._timeout)
            raise self._failure from failed
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if self._closed and task is not None and not task.cancelling():
                # The call was cancelled by `close`, not the task that reads it.
                raise cancelled_here() from None
            raise
        finally:
            self.close()

    def close(self) -> None:
        """Cancel the call at the server; nothing happens when it has ended."""
        self._closed = True
        self._call.cancel()

    async def __aenter__(self) -> Self:
        """Return the stream itself."""
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        """Close it."""
        self.close()
