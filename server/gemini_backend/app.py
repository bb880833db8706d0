"""The whole service in one process: starts everything, drains it, stops it."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING

from gemini_backend.audit.entry import Act
from gemini_backend.composition.assembly import assembled
from gemini_backend.composition.doors import doors_of, grpc_server, identity_of, web_guard_of
from gemini_backend.composition.parts import parts_of
from gemini_backend.composition.ports import most_connections
from gemini_backend.config.checks import check_exposure
from gemini_backend.config.network.listen import Listen, parse_listen
from gemini_backend.rpc import contract, server
from gemini_backend.rpc.listening import CoreConnections, credentials_of
from gemini_backend.rpc.standard_health import Health
from gemini_backend.telemetry.health.lifecycle import Addresses, Stage
from gemini_backend.telemetry.logs.log_setup import set_level
from gemini_backend.telemetry.tracing import Tracing, tracing_wanted
from gemini_backend.web.listener import WebListener
from gemini_backend.web.probes import probes_of
from gemini_backend.web.site import site_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gemini_backend.config import Change, Config, Reloaded, Settings
    from gemini_backend.telemetry.logs.log_writer import LogWriter
    from gemini_backend.upstream.base import Provider

# for those that were cut short to hear why
LAST_WORDS_SECONDS = 2.0
# for the upstream to list its models: what has come to its end is served while it is listed
_LISTING_SECONDS = 0.5

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class OpenPorts:
    """Where the ports are, once all of them are open."""

    grpc: Listen
    web: Listen | None
    probe: Listen | None = None

    def __str__(self) -> str:
        """Return the ready line."""
        web = f" web={self.web}" if self.web else ""
        probe = f" probe={self.probe}" if self.probe else ""
        return f"ready grpc={self.grpc}{web}{probe}"


class Backend:
    """The whole service in one process."""

    def __init__(
        self,
        settings: Settings,
        environ: Mapping[str, str],
        lines: LogWriter,
        provider: Provider,
    ) -> None:
        """Put everything together; nothing is opened yet.

        Args:
            settings: The configuration as it was read.
            environ: Environment variables; the OTEL_* ones are read from here.
            lines: Where log lines go.
            provider: Makes the upstream.

        Raises:
            ConfigError: the configuration cannot be carried out.
        """
        check_exposure(settings.config)
        self._parts = parts = parts_of(settings, provider)
        base = parts.base
        traced = tracing_wanted(base.config.tracing.enabled, environ)
        self._tracing = Tracing(environ) if traced else None
        if self._tracing is not None:
            self._tracing.listen(base.bus)
        parts.log_calls(lines)
        self._identity = identity_of(parts, environ)
        doors = doors_of(parts, self._identity)
        self._assembly = assembled(
            parts,
            tracing=self._tracing and self._tracing.interceptor,
            edge=doors.edge,
            components=self._identity.components(),
        )
        self._health = Health([service.full_name for service in contract.SERVICES])
        most = most_connections(base.config)
        self._server = grpc_server(base.config.server, self._assembly, self._health, doors, most)
        self._connections = CoreConnections.of_newest()
        guard = web_guard_of(self._identity)
        pages = site_of(parts.seen.metrics, self._assembly.reporter, guard)
        self._web = WebListener(pages, parts.ports.admission("web"))
        self._probes = WebListener(probes_of(self._ready), parts.ports.admission("probe"))
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def config(self) -> Config:
        """The configuration in force."""
        return self._parts.base.config

    async def start(self) -> OpenPorts:
        """Open all ports, then say where they are.

        Raises:
            ConfigError: there is no key, because of a source that cannot be read; or what callers
                are known by cannot be used.
            OSError: a port cannot be opened.
        """
        parts = self._parts
        await self._identity.start()
        certificates, connections = parts.ports.certificates, parts.ports.connections
        credentials = (
            None
            if certificates is None
            else credentials_of(certificates, connections.handshake_begins)
        )
        port = server.listen(self._server, self.config.server, credentials)
        await parts.access.load_keys()
        await parts.access.listing.first(_LISTING_SECONDS)
        await self._server.start()
        await self._health.start()
        host = parse_listen("server.listen", self.config.server.listen).host
        web = await self._web.start() if self.config.web.enabled else None
        probe = await self._probes.start() if self.config.web.probe_listen else None
        for background in (
            self._follow_config(),
            parts.base.lag.run(),
            parts.base.giving_back.run(),
            parts.access.listing.keep_fresh(),
            parts.access.follow_keys(),
            parts.kept.sessions.run(),
            *([parts.kept.api_keys.run()] if "api_key" in self.config.auth.methods else []),
            *parts.ports.background(self._connections),
        ):
            self._tasks.add(asyncio.create_task(background))
        ready = OpenPorts(Listen(host, port), web, probe)
        parts.base.lifecycle.serving(Addresses(str(ready.grpc), str(web or "")))
        parts.audit.note(
            Act("server start", str(ready.grpc), details={"version": version("gemini-backend")})
        )
        return ready

    async def reload(self, read: Settings, change: Change) -> Reloaded:
        """Take over live settings that were read anew.

        Raises:
            ConfigError: they are at odds with those in force, or cannot be kept; nothing has
                changed.
        """
        done = await self._parts.base.store.reload(read, change)
        self._parts.audit.reloaded(done)
        return done

    def read_keys_again(self) -> None:
        """Read the master keys and the sources of upstream keys again, in the background."""
        task = asyncio.create_task(self._parts.access.read_keys_again())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def reload_certificates(self) -> None:
        """Read the files of `server.tls_*` again, soon; new connections use what is in them."""
        self._parts.ports.reload()

    def log_state(self) -> None:
        """Write a line that says how the server is and what it is doing."""
        report, metrics = self._assembly.reporter.report(), self._parts.seen.metrics
        facts = {
            "state": report.state.name.lower(),
            "why": report.message,
            "config_revision": self._parts.base.store.revision.number,
            "rpcs_in_flight": metrics.rpcs_in_flight,
            "open_streams": metrics.open_streams,
            "upstream_connections_in_use": self._parts.access.upstream.connections(),
            "tasks": len(asyncio.all_tasks()),
        }
        _log.info("state", extra=facts)

    async def drain(self) -> None:
        """Take nothing new, let running calls end within `server.drain_seconds`, then cancel."""
        self._parts.base.lifecycle.drain()
        await self._health.drain()
        grace = self.config.server.drain_seconds
        stopping = asyncio.ensure_future(self._server.stop(grace + LAST_WORDS_SECONDS))
        try:
            await asyncio.wait({stopping}, timeout=grace)
            self._parts.base.running.cut_short()
            await stopping
        finally:
            stopping.cancel()

    async def aclose(self) -> None:
        """End whatever still runs, at once, and close every connection."""
        await self._server.stop(0)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._web.aclose()
        await self._probes.aclose()
        await self._identity.aclose()
        await self._assembly.aclose()
        self._parts.audit.note(Act("server stop"))
        await self._parts.aclose()
        if self._tracing is not None:
            await asyncio.to_thread(self._tracing.close)

    def _ready(self) -> bool:
        return self._parts.base.lifecycle.stage is Stage.SERVING

    async def _follow_config(self) -> None:
        """Hand live changes to what cannot read the configuration by itself."""
        store = self._parts.base.store
        async for _ in store.subscribe():
            self._parts.access.upstream.reconfigure(store.current)
            set_level(store.current.logging.level)
