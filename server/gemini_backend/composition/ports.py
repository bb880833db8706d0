"""What both ports share: certificates, and what is seen of connections."""

from __future__ import annotations

import resource
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gemini_backend.api.requests.by_peer import RunningByPeer
from gemini_backend.rpc.listening import Connections
from gemini_backend.telemetry.metrics.metric_families import Family
from gemini_backend.telemetry.refused_connections import RefusedConnections
from gemini_backend.tls import CertificateHealth, LiveCertificates
from gemini_backend.web.accepting import Admission

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator
    from ssl import SSLContext
    from typing import Any

    from gemini_backend.composition.foundation import Foundation
    from gemini_backend.config import Config
    from gemini_backend.rpc.listening import CoreConnections
    from gemini_backend.telemetry.events import Door
    from gemini_backend.telemetry.health.health_report import Component
    from gemini_backend.telemetry.metrics import Metrics

# Ports, files and worker processes.
_BESIDES = 256
_UNLIMITED = 1_000_000
# Of the descriptors an HTTP port takes one in so many at most.
_SHARE = 8


@dataclass(frozen=True, slots=True)
class Ports:
    """Made before the ports are opened.

    Attributes:
        certificates: Those of TLS; None without TLS.
        expiry: How long they are valid; None without TLS.
        connections: Of the gRPC port.
    """

    base: Foundation
    certificates: LiveCertificates | None
    expiry: CertificateHealth | None
    connections: Connections

    def components(self) -> list[Callable[[], Component]]:
        """Return what health has of them."""
        expiry = [] if self.expiry is None else [self.expiry.component]
        return [self.connections.component, *expiry]

    def admission(self, door: Door) -> Admission:
        """Return what an HTTP port goes by."""
        base, options = self.base, self.base.config.web
        by_tls = options.tls and door == "web"
        most = max(1, file_limit() // _SHARE)
        return Admission(door, options, base.bus, self._context if by_tls else _plain, most)

    def background(self, connections: CoreConnections) -> list[Coroutine[Any, Any, None]]:
        """Return what runs as long as the server does."""
        work = [self.connections.run(connections)]
        if self.certificates is not None:
            work.append(self.certificates.run())
        if self.expiry is not None:
            work.append(self.expiry.run(self.base.clock))
        return work

    def reload(self) -> None:
        """Read the certificates again, soon."""
        if self.certificates is not None:
            self.certificates.ask()

    def _context(self) -> SSLContext | None:
        return None if self.certificates is None else self.certificates.current.context


def ports_of(base: Foundation, metrics: Metrics) -> Ports:
    """Return what the ports share.

    Raises:
        OSError: the certificates cannot be used; the message says why.
    """
    options = base.config.server
    refused = RefusedConnections(base.clock)
    refused.listen(base.bus)
    metrics.add_source(refused.families)
    certificates = expiry = None
    if options.tls_cert_file:
        certificates = LiveCertificates(options, base.clock)
        expiry = CertificateHealth(certificates, options.tls_expiry_warning_days)
        metrics.add_source(expiry.families)
    connections = Connections(
        base.bus,
        base.clock,
        most=most_connections(base.config),
        handshake_seconds=options.handshake_timeout_seconds if certificates else 0.0,
        called=base.running.called if isinstance(base.running, RunningByPeer) else None,
    )

    def gauges() -> Iterator[Family]:
        said = "Connections of callers to the gRPC port, counted every 10 s."
        yield Family.gauge("grpc_connections", said, connections.open)

    metrics.add_source(gauges)
    return Ports(base, certificates, expiry, connections)


def most_connections(config: Config) -> int:
    """Return how many connections the gRPC port may have.

    By default as many as the limit of open files leaves for it, at least half of that.
    """
    if config.server.max_connections:
        return config.server.max_connections
    limit = file_limit()
    gemini, web = config.upstream.gemini, config.web
    upstream = gemini.max_connections or type(gemini)().max_connections
    others = upstream + _BESIDES + (web.max_connections if web.enabled else 0)
    return max(limit - others, limit // 2, 1)


def file_limit() -> int:
    """Return how many descriptors the process may have."""
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return _UNLIMITED if limit == resource.RLIM_INFINITY else limit


def _plain() -> SSLContext | None:
    return None
