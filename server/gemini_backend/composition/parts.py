"""What doors, chain and services are made of, each part made of those before it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gemini_backend.api.requests.reception import Reception
from gemini_backend.composition.auditing import Auditing, auditing
from gemini_backend.composition.foundation import Foundation, lay_foundation
from gemini_backend.composition.model_access import ModelAccess, model_access
from gemini_backend.composition.observation import Observation, observation
from gemini_backend.composition.ports import Ports, ports_of
from gemini_backend.composition.storage import Storage, storage
from gemini_backend.telemetry.logs.access_log import AccessLog
from gemini_backend.telemetry.metrics.metric_families import Family

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gemini_backend.clock import Clock
    from gemini_backend.config import Settings
    from gemini_backend.telemetry.logs.log_writer import LogWriter
    from gemini_backend.upstream.base import Provider


@dataclass(frozen=True, slots=True)
class Parts:
    """In the order in which they are made."""

    base: Foundation
    access: ModelAccess
    seen: Observation
    kept: Storage
    audit: Auditing
    ports: Ports

    def reception(self) -> Reception:
        """Return what a door reports its calls to."""
        return Reception(self.base.running, self.kept.executions, self.base.clock, self.base.bus)

    def log_calls(self, lines: LogWriter) -> None:
        """Write a line of each call, whichever door it comes by, to `lines`."""
        store = self.base.store
        log = AccessLog(lambda: store.current.logging, lines, store.current.logging.format)
        log.listen(self.base.bus)

        def losses() -> Iterator[Family]:
            said = "Log lines that were lost: standard error was not read, or could not be written."
            yield Family.counter("log_lines_lost", said, lines.lost_total)

        self.seen.metrics.add_source(losses)

    async def aclose(self) -> None:
        """Close what was opened, in the opposite order."""
        await self.kept.aclose()
        await self.access.aclose()
        await self.audit.aclose()
        await self.base.store.aclose()


def parts_of(settings: Settings, provider: Provider, clock: Clock | None = None) -> Parts:
    """Return the parts; nothing is opened until it is used.

    Args:
        settings: The configuration as it was read.
        provider: Makes the upstream.
        clock: The machine's where none is given.

    Raises:
        ConfigError: the configuration cannot be carried out.
        OSError: the certificates of TLS cannot be used; the message says why.
    """
    base = lay_foundation(settings, clock)
    access = model_access(base, provider)
    seen = observation(base, access)
    kept, ports = storage(base), ports_of(base, seen.metrics)
    return Parts(base, access, seen, kept, auditing(base), ports)
