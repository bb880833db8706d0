"""The HTTP port, and the port of probes."""

from __future__ import annotations

from typing import Annotated

from gemini_backend.config.about import DAY_SECONDS, Options, about
from gemini_backend.config.network import parse_listen


class WebOptions(Options, frozen=True):
    """The HTTP server: Prometheus text and probes."""

    enabled: Annotated[bool, about("Enables the HTTP server.")] = True
    listen: Annotated[
        str,
        about(
            "`HOST:PORT` to listen on; port 0 selects a free port, which the ready line reports."
        ),
    ] = "127.0.0.1:8080"
    tls: Annotated[
        bool,
        about(
            "Enables TLS with the files of `server.tls_*`, and with client certificates if the "
            "gRPC server requires them."
        ),
    ] = False
    probe_listen: Annotated[
        str,
        about(
            "`HOST:PORT` of a second port without TLS, for probes that have no client certificate: "
            "`/healthz` and `/readyz` with one word each, nothing else. Empty for none."
        ),
    ] = ""
    max_connections: Annotated[
        int,
        about(
            "Maximum number of connections, of each of the two ports, and at most an eighth of the "
            "limit of open files; further ones are closed at once.",
            ge=1,
            le=1_000_000,
        ),
    ] = 4096
    max_connections_per_peer: Annotated[
        int,
        about(
            "Maximum number of connections from one address (of IPv6: one /64 network); 0 for no "
            "limit.",
            ge=0,
            le=1_000_000,
        ),
    ] = 1024
    head_timeout_seconds: Annotated[
        float,
        about(
            "Time within which a new connection must have finished TLS, and then again the head of "
            "its first request.",
            ge=0.1,
            le=600,
        ),
    ] = 10.0
    keepalive_seconds: Annotated[
        float,
        about(
            "Time for which a connection is kept open for its next request, which must have "
            "arrived by then.",
            ge=0,
            le=DAY_SECONDS,
        ),
    ] = 60.0
    stall_timeout_seconds: Annotated[
        float,
        about(
            "Time after which a connection is closed whose client takes none of an answer (Linux).",
            ge=1,
            le=3600,
        ),
    ] = 30.0

    def _check(self) -> None:
        """Refuse an address that is none.

        Raises:
            ConfigError: it is so.
        """
        parse_listen("web.listen", self.listen)
        if self.probe_listen:
            parse_listen("web.probe_listen", self.probe_listen)
