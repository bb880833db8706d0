"""The limits that the server must keep, checked by `--check`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bench.beside import Beside
    from bench.reports.figures import Figures


@dataclass(frozen=True)
class Goal:
    """One limit and what was reached.

    Attributes:
        aim: what is aimed at beyond the limit; None for nothing. It decides nothing.
        at_least: whether `reached` must not be below `limit`, instead of not above it.
    """

    name: str
    limit: float
    reached: float
    unit: str
    aim: float | None = None
    at_least: bool = False

    @property
    def kept(self) -> bool:
        """Whether the limit is kept; what was not measured counts as kept by nobody."""
        return self.reached >= self.limit if self.at_least else 0 <= self.reached <= self.limit

    @property
    def verdict(self) -> str:
        """What the table says of it."""
        if not self.kept:
            return "**missed**"
        missed = self.aim is not None and self.reached > self.aim
        return "kept, aim missed" if missed else "kept"


def goals(figures: dict[str, Figures], beside: Beside | None = None) -> list[Goal]:
    """Returns every goal that the measured targets allow to judge."""
    ours = figures["backend"]
    return [*_against_peers(figures), *_alone(ours), *(_beside(beside) if beside else [])]


def _against_peers(figures: dict[str, Figures]) -> list[Goal]:
    """Returns the goals in times of another gateway; paced: 20 events, 10 ms apart."""
    ours, found = figures["backend"], []
    if "ferrogw" in figures:
        ratio = ours.ratio(figures["ferrogw"], "unary")
        found.append(Goal("unary call, CPU against ferrogw", 4.5, ratio, "x", 3.5))
    if "tensorzero" in figures:
        peer = figures["tensorzero"]
        burst, paced = ours.ratio(peer, "burst"), ours.ratio(peer, "paced_10")
        found.append(Goal("burst stream, CPU against TensorZero", 1.5, burst, "x", 1.2))
        found.append(Goal("paced stream, CPU against TensorZero", 2.2, paced, "x", 1.8))
    if "litellm" in figures:
        ratio = figures["litellm"].ratio(ours, "burst")
        found.append(Goal("LiteLLM, burst stream, CPU against ours", 20, ratio, "x", at_least=True))
    return found


def _alone(ours: Figures) -> list[Goal]:
    return [
        Goal("resident size, idle", 120, ours.idle_mib, "MiB"),
        Goal("resident size, each further open stream", 45, ours.stream_kib, "KiB"),
        Goal("start to ready line", 1.5, ours.ready_s, "s"),
        Goal("failed calls and streams", 0, ours.errors, ""),
    ]


def _beside(beside: Beside) -> list[Goal]:
    errors = beside.cancels.errors + sum(one.errors for one in beside.comparisons)
    return [
        *(
            Goal(f"{one.what}, CPU against {one.base}", one.limit, one.ratio(), "x", one.aim)
            for one in beside.comparisons
        ),
        Goal("resident size, a caller that does not read", 0.5, beside.unread.each(), "MB"),
        Goal("cancel until the request to Gemini is closed, p99", 5, beside.cancels.p99(), "ms"),
        Goal("failed calls and streams of these comparisons", 0, errors, ""),
    ]
