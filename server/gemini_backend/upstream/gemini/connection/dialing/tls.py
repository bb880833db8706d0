"""TLS to the model API and to proxies, with sessions that are taken up again."""

from __future__ import annotations

import ssl
from contextlib import suppress
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

from gemini_backend.upstream.gemini.connection.sockets import trusting

if TYPE_CHECKING:
    import asyncio

    from gemini_backend.clock import Clock

_MOST_SESSIONS = 16
_SESSION_SECONDS = 3600.0
_NEVER_SECONDS = 86_400.0
_END_SECONDS = 1.0
_TICKETS_ONLY = "TLSv1.3"


class Session(NamedTuple):
    """A session that can be taken up again.

    Attributes:
        ticket: OpenSSL's own object.
        verified_at: When the certificate of the host was looked at.
    """

    ticket: ssl.SSLSession
    verified_at: float


class Tls:
    """Whom TLS trusts, and the latest session with each host.

    A handshake that takes a session up again costs the other side no certificate and this one no
    look at it. So a session is bound to its host's name and to the same trust, and an hour after
    the certificate was looked at, the next handshake is a full one. Of more than 16 hosts the one
    whose session is the oldest has none.
    """

    def __init__(self, ca_file: str, clock: Clock) -> None:
        """Trust the authorities in a file, or the system's where it is empty."""
        self._ca_file = ca_file
        self._clock = clock
        self._sessions: dict[str, Session] = {}

    @cached_property
    def context(self) -> ssl.SSLContext:
        """The context of all handshakes; it is read from disk on first use.

        Raises:
            OSError: the file cannot be read, or holds no certificates.
        """
        context = trusting(self._ca_file)
        context.sslobject_class = _resuming(self)
        return context

    def prepare(self) -> None:
        """Read from disk what is trusted, which takes some time.

        Raises:
            OSError: the file cannot be read, or holds no certificates.
        """
        _ = self.context

    def arguments(self, host: str) -> dict[str, Any]:
        """Return how an event loop is told to encrypt a connection to a host.

        Nothing bounds a handshake there: what waits for it has its own limit. An end of TLS that is
        not answered holds a closed connection for a second.
        """
        return {
            "ssl": self.context,
            "server_hostname": host.rstrip("."),
            "ssl_handshake_timeout": _NEVER_SECONDS,
            "ssl_shutdown_timeout": _END_SECONDS,
        }

    def session(self, host: str) -> Session | None:
        """Return the session to take up with a host; None for a full handshake."""
        session = self._sessions.get(host)
        if session is None or self._clock.now() - session.verified_at < _SESSION_SECONDS:
            return session
        del self._sessions[host]
        return None

    def learn(self, transport: asyncio.BaseTransport) -> None:
        """Keep the session of a connection, for the next one to the same host.

        Since TLS 1.3 a session can be taken up again by a ticket, which comes some time after the
        handshake: with the first bytes that are read, at the latest.
        """
        over = transport.get_extra_info("ssl_object")
        if not isinstance(over, ssl.SSLObject) or not over.server_hostname:
            return
        ticket = over.session
        if ticket is None or not (ticket.has_ticket or over.version() != _TICKETS_ONLY):
            return
        verified_at = self._clock.now()
        if over.session_reused:
            offered: Session | None = getattr(over, "offered", None)
            if offered is None:
                return
            verified_at = offered.verified_at
        self._sessions.pop(over.server_hostname, None)
        self._sessions[over.server_hostname] = Session(ticket, verified_at)
        if len(self._sessions) > _MOST_SESSIONS:
            del self._sessions[next(iter(self._sessions))]

    def forget(self, host: str) -> bool:
        """Drop the session with a host, since a handshake failed; tell whether there was one."""
        return self._sessions.pop(host, None) is not None


def _resuming(tls: Tls) -> type[ssl.SSLObject]:
    """Return a class of connections that take up a session: event loops have no argument for it."""

    class Resuming(ssl.SSLObject):
        offered: Session | None = None
        _begun = False

        def do_handshake(self) -> None:
            if not self._begun:
                self._begun = True
                self.offered = tls.session(self.server_hostname or "")
                if self.offered is not None:
                    with suppress(ValueError):  # it is of no use; a full handshake follows
                        self.session = self.offered.ticket
            super().do_handshake()

    return Resuming
