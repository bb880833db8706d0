"""Whether the time that a refusal takes says how much of a secret is right.

Secrets that are wrong in their first character of the random part, in a middle one, or in their
last one are presented in random order, and the times of two groups are compared by Welch's t-test,
as `dudect` does. The largest times are left out, as a share of all samples together: they are
interruptions. `CONTROL` compares as no server should, character by character up to the first
difference, to show that the test would find such a thing.
"""

from __future__ import annotations

import gc
import random
import string
import time
from math import sqrt
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

LETTERS = string.ascii_letters + string.digits
SAMPLES = 60_000
"""Of each group, in each round."""
ROUNDS = 5
VARIANTS = 61
"""Secrets of each group: all other letters in one place."""
KEPT = 0.9
LIMIT = 4.5
"""Of |t|, from which `dudect` speaks of a difference: chance exceeds it once in 100,000 times."""
_RANDOM_FROM = len("gbk_") + 12 + 1


class Difference(NamedTuple):
    """Of two groups: of their means in ns, its standard error, and how many of them it is."""

    what: str
    nanoseconds: float
    error: float

    @property
    def t(self) -> float:
        """How many standard errors it is."""
        return self.nanoseconds / self.error if self.error else 0.0

    @property
    def significant(self) -> bool:
        """Whether chance alone would not explain it."""
        return abs(self.t) > LIMIT


def wrong(secret: str) -> dict[str, list[str]]:
    """Returns secrets that are wrong in one place, by the place, of the same key."""
    places = {
        "first": _RANDOM_FROM,
        "middle": (_RANDOM_FROM + len(secret)) // 2,
        "last": len(secret) - 1,
    }
    return {
        name: [secret[:at] + one + secret[at + 1 :] for one in LETTERS if one != secret[at]]
        for name, at in places.items()
    }


def differences(
    present: Callable[[str], object], groups: Mapping[str, Sequence[str]], samples: int = SAMPLES
) -> list[Difference]:
    """Returns how the first group differs from each other one, in the round of the median |t|."""
    base, *others = groups
    rounds = [_sampled(present, groups, samples) for _ in range(ROUNDS)]
    found = []
    for other in others:
        each = [_welch(f"{base} and {other}", one[base], one[other]) for one in rounds]
        found.append(sorted(each, key=lambda one: abs(one.t))[len(each) // 2])
    return found


def control(secret: str) -> Callable[[str], object]:
    """Returns a comparison that takes the longer, the more of a secret is right."""

    def compare(presented: str) -> bool:
        for one, other in zip(presented, secret, strict=False):
            if one != other:
                return False
        return len(presented) == len(secret)

    return compare


def _sampled(
    present: Callable[[str], object], groups: Mapping[str, Sequence[str]], samples: int
) -> dict[str, list[float]]:
    """Returns the times of each group, in ns, without the largest ones."""
    order = [name for name in groups for _ in range(samples)]
    random.shuffle(order)
    presented = [(name, random.choice(groups[name])) for name in order]
    clock, taken = time.perf_counter_ns, []
    gc.disable()
    try:
        for name, text in presented:
            began = clock()
            present(text)
            taken.append((name, clock() - began))
    finally:
        gc.enable()
    highest = sorted(each for _, each in taken)[int(len(taken) * KEPT)]
    return {
        name: [each for whose, each in taken if whose == name and each <= highest]
        for name in groups
    }


def _welch(what: str, one: Sequence[float], other: Sequence[float]) -> Difference:
    """Returns the difference of two means, and its standard error for unequal variances."""
    means, errors = [], 0.0
    for each in (one, other):
        mean = sum(each) / len(each)
        means.append(mean)
        errors += sum((value - mean) ** 2 for value in each) / (len(each) - 1) / len(each)
    return Difference(what, means[1] - means[0], sqrt(errors))
