"""What something costs against something else on the same machine, round by round."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True)
class Comparison:
    """Two costs, measured next to each other in each round.

    Attributes:
        what, base: what is compared with what, as the table names them.
        cost_us, base_us: CPU in microseconds of the server for one exchange, a value per round.
        limit: the most that the ratio may be.
        aim: what is aimed at beyond the limit; None for nothing.
        errors: exchanges of either that failed.
    """

    what: str
    base: str
    cost_us: Sequence[float]
    base_us: Sequence[float]
    limit: float
    aim: float | None = None
    errors: int = 0
    first_error: str = ""

    def ratio(self) -> float:
        """Returns the median of the rounds' ratios."""
        return paired_ratio(self.cost_us, self.base_us)


def paired_ratio(costs: Sequence[float], bases: Sequence[float]) -> float:
    """Returns the median of the ratios of each round's two costs, 0.0 where there is none.

    What disturbs a machine lasts longer than a round, so that it changes both costs of a pair.
    """
    ratios = [cost / base for cost, base in zip(costs, bases, strict=True) if base > 0]
    return median(ratios) if ratios else 0.0


def comparison_table(comparisons: Sequence[Comparison]) -> str:
    """Returns a row per comparison: both costs and their ratio."""
    lines = ["| what | µs | compared with | µs | ratio |", "| --- | --- | --- | --- | --- |"]
    for each in comparisons:
        own, base = median(each.cost_us), median(each.base_us)
        cells = (each.what, f"{own:,.0f}", each.base, f"{base:,.0f}", f"{each.ratio():.2f}x")
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)
