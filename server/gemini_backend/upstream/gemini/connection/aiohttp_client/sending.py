"""aiohttp's request, which looks once more at its connection before it writes to it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from aiohttp import ClientRequest

from gemini_backend.upstream.gemini.connection.aiohttp_client.handler import (
    Handler,
    UnusableConnection,
)

if TYPE_CHECKING:
    from aiohttp.abc import AbstractStreamWriter
    from aiohttp.client_reqrep import ClientResponse
    from aiohttp.connector import Connection

_TURNS = 2
"""Turns of the event loop in which it reads what the kernel has, and tells of it."""


class Request(ClientRequest):
    """A request that is written only to a connection on which nothing has come unasked.

    The event loop reads a connection only when it gets round to it, so the kernel is asked too,
    immediately before the first byte is written.
    """

    async def send(self, conn: Connection) -> ClientResponse:
        """Write the request's head, and its body by `write_bytes`.

        Raises:
            UnusableConnection: the connection cannot be trusted; nothing was written.
        """
        if self.body:  # written by a task of its own
            return await super().send(conn)
        handler = conn.protocol
        if not isinstance(handler, Handler):
            return await super().send(conn)
        if handler.encrypted and not handler.fresh:
            await _settled(handler)
        if not handler.claim():
            raise UnusableConnection
        response = await super().send(conn)
        handler.sent = True
        return response

    async def write_bytes(
        self, writer: AbstractStreamWriter, conn: Connection, content_length: int | None = None
    ) -> None:
        """Write the request; where the connection cannot be trusted, fail its call instead."""
        handler = conn.protocol
        if not isinstance(handler, Handler):
            await super().write_bytes(writer, conn, content_length)
            return
        if handler.encrypted and not handler.fresh:
            await _settled(handler)
        if handler.claim():
            await super().write_bytes(writer, conn, content_length)
            handler.sent = True
        else:
            handler.refuse(UnusableConnection())


async def _settled(handler: Handler) -> None:
    """Let the event loop read what is pending on an encrypted connection.

    It may be no data, such as a ticket for a later session. Data condemns the connection.
    """
    for _ in range(_TURNS):
        if not handler.pending():
            break
        await asyncio.sleep(0)
