"""One HTTP connection: how long it may take to ask, and what it is told of errors."""

from __future__ import annotations

import logging
from http import HTTPStatus
from typing import TYPE_CHECKING

from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from gemini_backend.sizes import KIB
from gemini_backend.telemetry.logs.unhandled import facts_of

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from aiohttp.typedefs import Handler

    from gemini_backend.config.sections.web import WebOptions
    from gemini_backend.telemetry.events import Refusal
    from gemini_backend.web.places import Place

HEADERS = {"Server": "gemini-backend", "X-Content-Type-Options": "nosniff"}
"""Of every answer; aiohttp would name its version and Python's."""
# A line of a head, and how many there may be.
_MAX_LINE_BYTES = 8 * KIB
_MAX_HEADERS = 64
# How long the rest of a body that nobody reads is thrown away before the connection is closed.
_LINGER_SECONDS = 2.0

_log = logging.getLogger(__name__)


class Connection(RequestHandler):
    """Closed if its first request does not arrive in time; its errors have no text of Python's."""

    __slots__ = ("_head_seconds", "_place", "_refused", "_waiting")

    def __init__(
        self,
        server: web.Server,
        options: WebOptions,
        place: Place,
        refused: Callable[[Refusal], None],
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        """Serve one connection.

        Args:
            server: What its requests go to.
            options: Its times.
            place: Is left when it ends.
            refused: Is told why it is closed.
            loop: The loop that runs.
        """
        super().__init__(
            server,
            loop=loop,
            keepalive_timeout=options.keepalive_seconds,
            access_log=None,  # type: ignore[arg-type]  # documented: None for no log
            max_line_size=_MAX_LINE_BYTES,
            max_field_size=_MAX_LINE_BYTES,
            max_headers=_MAX_HEADERS,
            lingering_time=_LINGER_SECONDS,
        )
        self._head_seconds = options.head_timeout_seconds
        self._place = place
        self._refused = refused
        self._waiting: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Wait for the first request, TLS being done."""
        super().connection_made(transport)
        self._waiting = self._loop.call_later(self._head_seconds, self._too_slow)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Leave the place."""
        self.asked()
        self._place.leave()
        super().connection_lost(exc)

    def asked(self) -> None:
        """The head of a request has arrived."""
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None

    def _too_slow(self) -> None:
        self._waiting = None
        if self.transport is not None:
            self._refused("slow")
            self.transport.abort()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = HTTPStatus.INTERNAL_SERVER_ERROR,
        exc: BaseException | None = None,
        message: str | None = None,  # noqa: ARG002 - the parser's words quote what was sent
    ) -> web.StreamResponse:
        """Answer what failed by its status alone; what failed here is logged without values.

        Raises:
            ConnectionError: an answer has begun, so that no other one can be sent.
        """
        self.asked()
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            _log.error("page_failed", extra={} if exc is None else facts_of(exc))
        else:
            self._refused("malformed")
        if request.writer.output_size:
            raise ConnectionError("an answer has begun")
        phrase = HTTPStatus(status).phrase.lower()
        answer = web.Response(status=status, text=f"{status}: {phrase}\n", headers=HEADERS)
        answer.force_close()
        return answer


@web.middleware
async def noting(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Take note, at the connection, that a request has arrived."""
    if isinstance(request.protocol, Connection):
        request.protocol.asked()
    return await handler(request)


async def head(_request: web.BaseRequest, answer: web.StreamResponse) -> None:
    """Add what every answer has in its head."""
    answer.headers.update(HEADERS)
