"""The audit log as a part of the server."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from gemini_backend.audit.acts import AuditActs
from gemini_backend.audit.entry import Act
from gemini_backend.audit.files import Place, Writer, place_of
from gemini_backend.audit.local import PURPOSE
from gemini_backend.audit.log import AuditLog
from gemini_backend.audit.refusals import Refusals

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from gemini_backend.composition.foundation import Foundation
    from gemini_backend.config import Reloaded
    from gemini_backend.telemetry.health.health_report import Component
    from gemini_backend.telemetry.metrics.metric_families import Family


@dataclass(frozen=True, slots=True)
class Auditing:
    """Where the log is, what gives its key, and what writes it; None where it is off."""

    place: Place
    key: Callable[[], bytes]
    log: AuditLog | None

    def layer(self) -> AuditActs | None:
        """Return the layer that records administrative acts."""
        return None if self.log is None else AuditActs(self.log)

    def note(self, act: Act) -> None:
        """Write an entry soon, of what the server itself does."""
        if self.log is not None:
            self.log.note(act)

    def reloaded(self, done: Reloaded) -> None:
        """Note that live settings were taken from the configuration's sources."""
        details = {"revision": str(done.revision.number), "needs_restart": ", ".join(done.waiting)}
        told = {name: value for name, value in details.items() if value}
        self.note(Act("reload", ", ".join(done.taken), details=told))

    def families(self) -> Iterator[Family]:
        """Yield the metrics; none where it is off."""
        if self.log is not None:
            yield from self.log.families()

    def components(self) -> list[Callable[[], Component]]:
        """Return what judges its health."""
        return [] if self.log is None else [self.log.component]

    async def aclose(self) -> None:
        """Write what still waits."""
        if self.log is not None:
            await self.log.aclose()


def auditing(foundation: Foundation) -> Auditing:
    """Return the log that the configuration has; nothing is opened yet."""
    store = foundation.store
    place, key = place_of(store.current), partial(foundation.keyring.key, PURPOSE)
    if not store.current.audit.enabled:
        return Auditing(place, key, None)
    log = AuditLog(Writer(place, key))
    refusals = Refusals(log, lambda: store.current.audit.refusals_per_minute, foundation.clock)
    refusals.listen(foundation.bus)
    return Auditing(place, key, log)
