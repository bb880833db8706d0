"""The limits that the server must keep, checked by `--check`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bench.reports.figures import Figures


@dataclass(frozen=True)
class Goal:
    """One limit and what was reached.

    Attributes:
        at_least: whether `reached` must not be below `limit`, instead of not above it.
    """

    name: str
    limit: float
    reached: float
    unit: str
    at_least: bool = False

    @property
    def kept(self) -> bool:
        """Whether the limit is kept; what was not measured counts as kept by nobody."""
        return self.reached >= self.limit if self.at_least else 0 <= self.reached <= self.limit


def goals(figures: dict[str, Figures]) -> list[Goal]:
    """Returns every goal that the measured targets allow to judge."""
    ours, floor = figures["backend"], figures["passthrough"]
    found = [
        Goal("unary call, CPU against the pass-through", 2.5, ours.unary / floor.unary, "x"),
        Goal("paced stream, CPU against the pass-through", 1.2, paced(ours) / paced(floor), "x"),
        Goal("burst stream, CPU against the pass-through", 3.0, ours.burst / floor.burst, "x"),
        Goal("resident size, idle", 120, ours.idle_mib, "MiB"),
        Goal("resident size, each further open stream", 60, ours.stream_kib, "KiB"),
        Goal("start to ready line", 1.5, ours.ready_s, "s"),
        Goal("failed calls and streams", 0, ours.errors, ""),
    ]
    if "litellm" in figures:
        peer = figures["litellm"]
        ratios = {"burst": peer.burst / ours.burst, "paced": paced(peer) / paced(ours)}
        found += [
            Goal(f"LiteLLM, {kind} stream, CPU against ours", 12, ratio, "x", at_least=True)
            for kind, ratio in ratios.items()
        ]
    return found


def paced(figures: Figures) -> float:
    """Returns the figure that paced streams are judged by: 20 events, 10 ms apart."""
    return figures.paced_10
