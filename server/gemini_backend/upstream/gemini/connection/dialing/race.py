"""A socket that is connected to one of many addresses: happy eyeballs (RFC 8305)."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from aiohappyeyeballs import start_connection

from gemini_backend.descriptors import ran_out

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Sequence

    from gemini_backend.upstream.gemini.connection.dialing.names import (
        AddressInfo,
        SocketAddress,
    )

    MakeSocket = Callable[[AddressInfo], socket.socket]

_STAGGER_SECONDS = 0.25


async def connected(
    addresses: Sequence[AddressInfo], make: MakeSocket
) -> tuple[socket.socket, SocketAddress]:
    """Return a socket that is connected to the first address that answered, and the address.

    The families take turns, the first address's first. Each next one is tried when the one before
    has failed, or has not answered for 250 ms; the others are closed when one is connected.

    Args:
        addresses: At least one, in the order of preference.
        make: Makes a socket for an address, not connected yet.

    Raises:
        OSError: none answered; its `errno` says why where it is the same for all.
    """
    without: list[OSError] = []
    sockets: dict[socket.socket, SocketAddress] = {}

    def made(info: AddressInfo) -> socket.socket:
        try:
            sock = make(info)
        except OSError as error:
            without.append(error)
            raise
        sockets[sock] = info[4]
        return sock

    task = asyncio.current_task()
    cancelled_before = 0 if task is None else task.cancelling()
    try:
        sock = await start_connection(
            addresses, happy_eyeballs_delay=_STAGGER_SECONDS, socket_factory=made
        )
    except RuntimeError as error:  # what uvloop raises for a descriptor that it does not like
        raise OSError(str(error)) from error
    except OSError:
        for missing in without:
            if ran_out(missing):
                raise missing from None
        raise
    if task is not None and task.cancelling() > cancelled_before:
        # it came while the others were being closed, and was lost there
        sock.close()
        raise asyncio.CancelledError
    return sock, sockets[sock]
