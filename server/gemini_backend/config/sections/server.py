"""The gRPC port."""

from __future__ import annotations

from typing import Annotated

from gemini_backend.config.about import DAY_SECONDS, Options, about
from gemini_backend.config.errors import ConfigError
from gemini_backend.config.network import parse_listen

LEAST_MEMORY_MB = 16


class ServerOptions(Options, frozen=True):
    """The gRPC server."""

    listen: Annotated[
        str,
        about(
            "`HOST:PORT` to listen on; port 0 selects a free port, which the ready line reports."
        ),
    ] = "127.0.0.1:50051"
    tls_cert_file: Annotated[
        str, about("PEM file with the certificate chain; empty for no TLS.")
    ] = ""
    tls_key_file: Annotated[
        str, about("PEM file with the private key of the certificate; empty for no TLS.")
    ] = ""
    tls_client_ca_file: Annotated[
        str,
        about(
            "PEM file with the authorities that must have issued clients' certificates (mutual "
            "TLS); empty for none."
        ),
    ] = ""
    tls_reload_seconds: Annotated[
        float,
        about(
            "Interval at which the files of `server.tls_*` are checked for changes; new "
            "connections use what has changed, open ones stay. 0 to reload at SIGHUP only.",
            ge=0,
            le=DAY_SECONDS,
        ),
    ] = 10.0
    tls_expiry_warning_days: Annotated[
        float,
        about(
            "Time before a certificate expires from which the health component `certificates` is "
            "degraded, in days.",
            ge=0,
            le=365,
        ),
    ] = 14.0
    max_message_mb: Annotated[
        int,
        about(
            "Maximum size of a message, incoming or outgoing, in MiB; a larger one is refused.",
            ge=1,
            le=1024,
        ),
    ] = 64
    max_memory_mb: Annotated[
        int,
        about(
            "Upper limit of the bytes in flight, in MiB: large requests, answers of the model API "
            "that are read as a whole, events that wait for readers, the journal. Large requests "
            "wait for room; beyond that they are refused with POLICY_OVERLOADED. 0 for a quarter "
            "of the memory of the container or machine, at most 512; otherwise at least 16.",
            live=True,
            ge=0,
            le=1_048_576,
        ),
    ] = 0
    keepalive_time_seconds: Annotated[
        float, about("Idle time after which the server pings a client.", ge=1, le=DAY_SECONDS)
    ] = 60.0
    keepalive_timeout_seconds: Annotated[
        float,
        about(
            "Time within which a client must answer a ping before its connection is closed.",
            ge=0.1,
            le=3600,
        ),
    ] = 20.0
    keepalive_min_client_interval_seconds: Annotated[
        float,
        about(
            "Minimum time between pings of a client; a client that pings faster is disconnected.",
            ge=0,
            le=3600,
        ),
    ] = 10.0
    max_connection_age_seconds: Annotated[
        float,
        about(
            "Age at which a connection is closed, so that clients are redistributed over servers; "
            "0 for never.",
            ge=0,
            le=30 * DAY_SECONDS,
        ),
    ] = 0.0
    max_connection_age_grace_seconds: Annotated[
        float,
        about(
            "Time that calls have to end when their connection has reached that age; then they "
            "are cancelled.",
            ge=1,
            le=DAY_SECONDS,
        ),
    ] = 3600.0
    max_connection_idle_seconds: Annotated[
        float,
        about(
            "Time without a call after which a connection is closed; clients reconnect with their "
            "next call. 0 for never.",
            ge=0,
            le=30 * DAY_SECONDS,
        ),
    ] = 1800.0
    handshake_timeout_seconds: Annotated[
        float,
        about(
            "Time within which a new connection must have finished TLS and the beginning of "
            "HTTP/2.",
            ge=0.1,
            le=600,
        ),
    ] = 10.0
    max_connections: Annotated[
        int,
        about(
            "Maximum number of connections; further ones are closed at once. 0 for as many as the "
            "limit of open files leaves after the connections to Gemini and the HTTP port, at "
            "least half of it.",
            ge=0,
            le=1_000_000,
        ),
    ] = 0
    max_streams_per_connection: Annotated[
        int,
        about(
            "Maximum number of concurrent RPCs on one connection; clients hold further ones back, "
            "and those that do not are refused; 0 for no limit.",
            ge=0,
            le=1_000_000,
        ),
    ] = 4000
    max_concurrent_rpcs: Annotated[
        int,
        about(
            "Maximum number of concurrent RPCs; further ones are refused with POLICY_OVERLOADED; "
            "0 for no limit.",
            ge=0,
            le=1_000_000,
        ),
    ] = 0
    max_rpcs_per_peer: Annotated[
        int,
        about(
            "Maximum number of concurrent RPCs from one address (of IPv6: one /64 network); "
            "further ones are refused with POLICY_OVERLOADED; 0 for no limit. Clients behind one "
            "proxy share an address.",
            ge=0,
            le=1_000_000,
        ),
    ] = 0
    drain_seconds: Annotated[
        float,
        about(
            "Grace period for running calls when the server stops; after it they are cancelled.",
            live=True,
            ge=0,
            le=DAY_SECONDS,
        ),
    ] = 30.0
    reflection: Annotated[
        bool, about("Enables the reflection service, for tools like `buf curl`.")
    ] = True
    channelz: Annotated[
        bool, about("Enables the channelz service; needs the extra `channelz`.")
    ] = False

    def _check(self) -> None:
        """Refuse an address that is none, half of a TLS set-up, and a budget that fits nothing.

        Raises:
            ConfigError: it is so.
        """
        parse_listen("server.listen", self.listen)
        if 0 < self.max_memory_mb < LEAST_MEMORY_MB:
            msg = (
                f"server.max_memory_mb is {self.max_memory_mb} and must be at least "
                f"{LEAST_MEMORY_MB}; set more, or 0 for a quarter of the memory there is"
            )
            raise ConfigError.at(msg, "server.max_memory_mb")
        if bool(self.tls_cert_file) != bool(self.tls_key_file):
            missing = "tls_key_file" if self.tls_cert_file else "tls_cert_file"
            msg = f"server.{missing} is empty and TLS needs both certificate and key; set it too"
            raise ConfigError.at(msg, f"server.{missing}")
        if self.tls_client_ca_file and not self.tls_cert_file:
            msg = (
                "server.tls_client_ca_file is set and mutual TLS needs a server certificate; set "
                "server.tls_cert_file and server.tls_key_file too"
            )
            raise ConfigError.at(msg, "server.tls_cert_file")
