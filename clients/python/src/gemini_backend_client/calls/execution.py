"""An execution under way: its answer as it streams in, for both clients."""

from __future__ import annotations

from contextlib import aclosing, closing
from typing import TYPE_CHECKING, Self

import grpc

from gemini_backend_client.errors import ErrorDetails, GeminiBackendError, ServerError
from gemini_backend_client.messages import Progress

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterator

    from gemini.backend.v1.execute_service_pb2 import ExecuteResponse
    from gemini_backend_client.connection import AsyncMessages, Messages
    from gemini_backend_client.messages import Answer

__all__ = ["AsyncExecution", "Execution"]


class _Watched(Progress):
    """Progress whose failures say how far it had come."""

    def _failed(self, error: GeminiBackendError) -> GeminiBackendError:
        return error.after(self.execution_id, self.last_sequence, self.usage)

    def _check_whole(self) -> None:
        """Never pass off half an answer as a whole one.

        Raises:
            ServerError: when the stream ended well, but without its last event.
        """
        if self.completed is None:
            message = "the stream ended before the answer was complete: send the request again"
            raise self._failed(ServerError(message, grpc.StatusCode.INTERNAL, ErrorDetails()))


class Execution(_Watched):
    """An execution under way. Iterate it for the text, or take `result()`.

    It can be gone through once, as text or as events. Leaving the loop early, `close`, the end of
    a `with` block, or dropping it cancels the execution at the server.
    """

    def __init__(self, messages: Messages[ExecuteResponse]) -> None:
        """Follow `messages`."""
        super().__init__()
        self._messages = messages

    def __iter__(self) -> Iterator[str]:
        """Give the first candidate's text, piece by piece, thoughts aside.

        Raises:
            GeminiBackendError: when the execution fails.
        """
        with closing(self._steps()) as steps:
            for _, text in steps:
                if text:
                    yield text

    def events(self) -> Iterator[ExecuteResponse]:
        """Give every event: `started`, deltas of all candidates, usage, `completed`.

        Raises:
            GeminiBackendError: when the execution fails.
        """
        with closing(self._steps()) as steps:
            for event, _ in steps:
                yield event

    def result(self) -> Answer:
        """Wait for the end and return the whole answer, with what was iterated before.

        Raises:
            GeminiBackendError: when the execution fails.
        """
        for _ in self._steps():
            pass
        return self.answer()

    def text(self) -> str:
        """Wait for the end and return the first candidate's whole text.

        Raises:
            GeminiBackendError: when the execution fails.
        """
        return self.result().text

    def wait_for_name(self) -> str:
        """Wait until the server has named the execution, at once; return `execution_id`."""
        if not self.execution_id:
            self.execution_id = self._messages.execution()
        return self.execution_id

    def close(self) -> None:
        """Cancel the execution at the server; nothing happens when it has ended."""
        self._messages.close()

    def __enter__(self) -> Self:
        """Return the execution itself."""
        return self

    def __exit__(self, *exc_info: object) -> None:
        """Close it."""
        self.close()

    def _steps(self) -> Generator[tuple[ExecuteResponse, str], None, None]:
        try:
            for event in self._messages:
                yield event, self.take(event)
        except GeminiBackendError as error:
            raise self._failed(error) from error
        self._check_whole()


class AsyncExecution(_Watched):
    """An execution under way, for asyncio: as `Execution`, with `async for` and `await`."""

    def __init__(self, messages: AsyncMessages[ExecuteResponse]) -> None:
        """Follow `messages`."""
        super().__init__()
        self._messages = messages

    async def __aiter__(self) -> AsyncIterator[str]:
        """Give the first candidate's text, piece by piece, thoughts aside.

        Raises:
            GeminiBackendError: when the execution fails.
        """
        async with aclosing(self._steps()) as steps:
            async for _, text in steps:
                if text:
                    yield text

    async def events(self) -> AsyncIterator[ExecuteResponse]:
        """Give every event: `started`, deltas of all candidates, usage, `completed`.

        Raises:
            GeminiBackendError: when the execution fails.
        """
        async with aclosing(self._steps()) as steps:
            async for event, _ in steps:
                yield event

    async def result(self) -> Answer:
        """Wait for the end and return the whole answer, with what was iterated before.

        Raises:
            GeminiBackendError: when the execution fails.
        """
        async for _ in self._steps():
            pass
        return self.answer()

    async def text(self) -> str:
        """Wait for the end and return the first candidate's whole text.

        Raises:
            GeminiBackendError: when the execution fails.
        """
        return (await self.result()).text

    async def wait_for_name(self) -> str:
        """Wait until the server has named the execution, at once; return `execution_id`."""
        if not self.execution_id:
            self.execution_id = await self._messages.execution()
        return self.execution_id

    def close(self) -> None:
        """Cancel the execution at the server; nothing happens when it has ended."""
        self._messages.close()

    async def __aenter__(self) -> Self:
        """Return the execution itself."""
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        """Close it."""
        self.close()

    async def _steps(self) -> AsyncGenerator[tuple[ExecuteResponse, str], None]:
        try:
            async with aclosing(aiter(self._messages)) as messages:  # type: ignore[type-var]
                async for event in messages:
                    yield event, self.take(event)
        except GeminiBackendError as error:
            raise self._failed(error) from error
        self._check_whole()
