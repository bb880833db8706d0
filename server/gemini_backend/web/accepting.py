"""Accepts connections at one address: within limits, with the certificates of that moment."""

from __future__ import annotations

import asyncio
import socket
import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gemini_backend.config.network.listen import Listen
from gemini_backend.descriptors import ran_out
from gemini_backend.telemetry.events import ConnectionRefused, DescriptorsRanOut
from gemini_backend.web.connection import Connection
from gemini_backend.web.places import Places

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiohttp import web

    from gemini_backend.config.sections.web import WebOptions
    from gemini_backend.telemetry.events import Door, Publisher, Refusal
    from gemini_backend.web.places import Place

_BACKLOG = 1024
# until a descriptor may be free again
_PAUSE_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Admission:
    """What an acceptor goes by.

    Attributes:
        door: The port's name in logs and metrics.
        options: Limits and times.
        bus: Where refusals are published.
        context: Returns TLS for the next connection; None for plain text.
        most: How many connections there may be, beside what the options say.
    """

    door: Door
    options: WebOptions
    bus: Publisher
    context: Callable[[], ssl.SSLContext | None]
    most: int = 1_000_000


class Acceptor:
    """One listening address, from `open` to `aclose`."""

    def __init__(self, server: web.Server, admission: Admission) -> None:
        """Hand connections to `server`."""
        self._server = server
        self._admission = admission
        options = admission.options
        most = min(admission.most, options.max_connections)
        self._places = Places(most, options.max_connections_per_peer)
        self._sockets: list[socket.socket] = []
        self._accepting: list[asyncio.Task[None]] = []
        self._beginning: set[asyncio.Task[None]] = set()

    async def open(self, listen: Listen) -> Listen:
        """Listen; return the real address.

        Raises:
            OSError: the port is taken, or the address does not belong to this machine.
        """
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(
            listen.host, listen.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        port = listen.port
        for family, address in {(one[0], one[4][0]): None for one in found}:
            opened = _listening(family, str(address), port)
            self._sockets.append(opened)
            port = opened.getsockname()[1]
        self._accepting = [loop.create_task(self._accept(one)) for one in self._sockets]
        return Listen(str(self._sockets[0].getsockname()[0]), port)

    async def aclose(self) -> None:
        """Accept no more, and give up what has not begun."""
        for task in (*self._accepting, *self._beginning):
            task.cancel()
        await asyncio.gather(*self._accepting, *self._beginning, return_exceptions=True)
        for one in self._sockets:
            one.close()

    async def _accept(self, listening: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                accepted, address = await loop.sock_accept(listening)
            except OSError as error:  # or the client has left already
                if ran_out(error):
                    self._admission.bus.publish(DescriptorsRanOut(""))
                    await asyncio.sleep(_PAUSE_SECONDS)
                await asyncio.sleep(0)  # an error that lasts is to keep nobody else waiting
                continue
            host = str(address[0])
            if why := self._places.refusal(host):
                accepted.close()
                self._refuse(why, host)
                continue
            task = loop.create_task(self._begin(accepted, host, self._places.take(host)))
            self._beginning.add(task)
            task.add_done_callback(self._beginning.discard)

    async def _begin(self, accepted: socket.socket, host: str, place: Place) -> None:
        """Hand over a connection once TLS is done; close it where that fails."""
        loop, options = asyncio.get_running_loop(), self._admission.options
        context = self._admission.context()

        def connection() -> Connection:
            def refused(why: Refusal) -> None:
                self._refuse(why, host)

            return Connection(self._server, options, place, refused, loop)

        try:
            if hasattr(socket, "TCP_USER_TIMEOUT"):
                milliseconds = round(options.stall_timeout_seconds * 1000)
                accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, milliseconds)
            await loop.connect_accepted_socket(
                connection,
                accepted,
                ssl=context,
                ssl_handshake_timeout=options.head_timeout_seconds if context else None,
            )
        except OSError as error:  # of TLS as well
            place.leave()
            accepted.close()
            if context is not None:
                self._refuse("handshake", host, _word(error))
        except BaseException:
            place.leave()
            accepted.close()
            raise

    def _refuse(self, why: Refusal, host: str, detail: str = "") -> None:
        self._admission.bus.publish(ConnectionRefused(self._admission.door, why, host, detail))


def _listening(family: int, address: str, port: int) -> socket.socket:
    made = socket.socket(family, socket.SOCK_STREAM)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        made.bind((address, port))
        made.listen(_BACKLOG)
        made.setblocking(False)  # noqa: FBT003 - takes no keyword
    except OSError:
        made.close()
        raise
    return made


def _word(error: OSError) -> str:
    """Return OpenSSL's word for what is wrong, or what happened to the connection."""
    if isinstance(error, ssl.SSLError):
        return error.reason or "TLS"
    return "CLOSED_BY_CLIENT" if isinstance(error, ConnectionResetError) else "TIMED_OUT"
