"""Why a server was not reached, in a sentence, by gRPC's words for it. No I/O."""

from __future__ import annotations

from typing import Final

__all__ = ["lost", "too_late", "unreached"]

# The first row of which a mark is in gRPC's message applies; marks are in lower case.
_NOBODY: Final = (
    "no server listens on that address; check that `gemini-backend serve` runs there, or correct "
    "the target"
)
_NO_NAME: Final = "its name cannot be resolved; correct the target, or the network's DNS"
_NO_GRPC: Final = (
    "what listens there does not speak gRPC; use the gRPC address (server.listen), not the HTTP "
    "address (web.listen)"
)
_CERTIFICATE: Final = (
    "the certificate of one side is not accepted by the other; check the authorities of both, and "
    "that the target is a name in the server's certificate"
)
_TLS: Final = (
    "no TLS session came about; give this client TLS if and only if the server has it "
    "(server.tls_cert_file)"
)
_NO_ANSWER: Final = (
    "no answer to the attempt to connect; check the address, and firewalls on the way"
)
_CAUSES: Final = (
    (("connection refused",), _NOBODY),
    (("dns", "resolving", "address lookup", "domain name", "name or service"), _NO_NAME),
    (("http/2", "http1", "settings frame", "http response code"), _NO_GRPC),
    (("certificate",), _CERTIFICATE),
    (("ssl", "tls", "handshake"), _TLS),
    (("timed out", "timeout", "unreachable", "no route"), _NO_ANSWER),
)
_LOST: Final = ("socket closed", "reset by peer", "broken pipe", "goaway", "recvmsg", "sendmsg")
_NOT_CONNECTED: Final = ("failed to connect", "resolving")


def unreached(target: str, message: str) -> str:
    """Return what a call means that met UNAVAILABLE before, or while, it was connected.

    Args:
        target: The server's address.
        message: gRPC's own words.
    """
    words = message.lower()
    if lost(message):
        return (
            f"the connection to {target} was lost ({message}): the server ended, or something on "
            "the way closed it; retry"
        )
    for marks, cause in _CAUSES:
        if any(mark in words for mark in marks):
            return f"{target} cannot be reached: {cause}"
    return (
        f"{target} cannot be reached ({message}): check that `gemini-backend serve` runs there and "
        "that both ends agree on TLS"
    )


def lost(message: str) -> bool:
    """Tell whether a connection that had been there was lost."""
    words = message.lower()
    connected = not any(mark in words for mark in _NOT_CONNECTED)
    return connected and any(mark in words for mark in _LOST)


def too_late(target: str, seconds: float | None, *, connected: bool) -> str:
    """Return what a deadline means that has passed, with or without a connection."""
    given = "in time" if seconds is None else f"within {seconds:g} s"
    if connected:
        return (
            f"{target} did not complete the answer {given}: give a longer timeout, or request less"
        )
    return (
        f"{target} cannot be reached {given}: no connection came about; check the address, "
        "firewalls on the way, and that `gemini-backend serve` runs there"
    )
