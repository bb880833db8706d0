"""The parts that servicers and pages ask, made for tests."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from gemini_backend.models.listing import ModelListing, UpstreamModel
from gemini_backend.telemetry.component_status import Standing
from gemini_backend.telemetry.events import Bus
from gemini_backend.telemetry.health.health_report import HealthReporter
from gemini_backend.telemetry.health.lifecycle import Addresses, Lifecycle
from gemini_backend.telemetry.metrics.metrics import Metrics
from tests.support.messages.calls import EXECUTE, PROCESS

if TYPE_CHECKING:
    from tests.support.clock import FakeClock

EPOCH = 1_700_000_000.0


@dataclass
class Board:
    """Metrics, listing, lifecycle and reporter over one clock that a test moves."""

    clock: FakeClock
    metrics: Metrics
    listing: ModelListing
    lifecycle: Lifecycle
    _component_status: list[Standing] = field(default_factory=lambda: [Standing()])
    bus: Bus = field(default_factory=Bus)
    reporter: HealthReporter = field(init=False)

    def __post_init__(self) -> None:
        """Let the reporter judge by these."""
        self.metrics.listen(self.bus)
        self.reporter = HealthReporter(
            self.metrics,
            self.lifecycle,
            self.listing,
            clock=self.clock,
            wall=self.wall,
            component_status=self.component_status,
        )

    def component_status(self) -> Standing:
        """Return how the parts before upstream stand now."""
        return self._component_status[-1]

    def stands(self, **parts: Any) -> None:
        """Say how the parts before upstream stand from now on."""
        self._component_status.append(Standing(**parts))

    def wall(self) -> float:
        """Return seconds since the epoch, in step with the clock."""
        return EPOCH + self.clock.now()


def board_of(clock: FakeClock, *models: UpstreamModel) -> Board:
    """Return parts that know these models; the server does not serve yet."""

    async def fetch() -> list[UpstreamModel]:
        return list(models)

    def wall() -> float:
        return EPOCH + clock.now()

    known = {model.name for model in models}
    metrics = Metrics(
        clock, {EXECUTE: True, PROCESS: False}, lambda name: f"models/{name}" in known, wall=wall
    )
    listing = ModelListing(fetch, clock, 300.0)
    lifecycle = Lifecycle(wall)
    return Board(clock, metrics, listing, lifecycle)


def serving(board: Board) -> Board:
    """Return the same parts, the server serving."""
    board.lifecycle.serving(Addresses("127.0.0.1:1", "127.0.0.1:2"))
    return board
