"""Connections that were refused: counted by port and reason, and logged."""

from __future__ import annotations

import logging
from collections import Counter
from typing import TYPE_CHECKING

from gemini_backend.telemetry.events import ConnectionRefused
from gemini_backend.telemetry.metrics.metric_families import Family
from gemini_backend.telemetry.repeats import Repeats

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gemini_backend.clock import Clock
    from gemini_backend.telemetry.events import Bus, Door, Refusal

# shown from the start: a rate needs the value before the first one
_SHOWN: tuple[tuple[Door, Refusal], ...] = (
    ("grpc", "handshake"),
    ("web", "handshake"),
    ("web", "too_many"),
    ("web", "too_many_of_peer"),
    ("web", "slow"),
    ("web", "malformed"),
)

_log = logging.getLogger(__name__)


class RefusedConnections:
    """One line when a kind of refusal begins, then one in 10 s at most with how many there were.

    The line has the latest one's address and OpenSSL's word for it, which is one of a fixed set.
    """

    def __init__(self, clock: Clock) -> None:
        """Have seen none."""
        self._clock = clock
        self._counts: Counter[tuple[str, str]] = Counter(dict.fromkeys(_SHOWN, 0))
        self._repeats: dict[tuple[str, str], Repeats] = {}

    def listen(self, bus: Bus) -> None:
        """Count what is published from now on."""
        bus.subscribe(ConnectionRefused, self._refused)

    def families(self) -> Iterator[Family]:
        """Yield the metric."""
        said = "Connections that were refused, or closed for what their client did."
        values = dict(self._counts)
        yield Family("counter", "refused_connections", said, values, ("port", "reason"))

    def _refused(self, event: ConnectionRefused) -> None:
        kind = (event.door, event.why)
        self._counts[kind] += event.count
        repeats = self._repeats.setdefault(kind, Repeats(self._clock))
        if count := repeats.due(event.count):
            facts: dict[str, object] = {"port": event.door, "reason": event.why, "count": count}
            if event.peer:
                facts["peer"] = event.peer
            if event.detail:
                facts["detail"] = event.detail
            _log.warning("connections_refused", extra=facts)
