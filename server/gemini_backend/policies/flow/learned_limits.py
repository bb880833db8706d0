"""Limits that upstream has named in its refusals, and how they are raised again."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

from gemini_backend.telemetry.component_status import QuotaKind

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from gemini_backend.errors import ServiceError

Limits = dict[QuotaKind, int]

_NUMBER = re.compile(r"[0-9]{1,15}")
_RAISE = 1.5
_LONGEST_SECONDS = 3600.0
_MOST = 10**12


class LearnedLimits:
    """What upstream has named; it counts for more than what is configured.

    A limit that calls had to wait for is raised by half after each clean time, in which upstream
    did not refuse: so a project that was given more is found without a restart. When upstream
    then names the same limit again, the next clean time is twice as long, up to an hour.
    """

    __slots__ = ("_clean_seconds", "_named", "_next", "_now", "_pressed")

    def __init__(self) -> None:
        """Know nothing."""
        self._now: Limits = {}
        self._named: Limits = {}
        self._clean_seconds = 0.0
        self._next = math.inf
        self._pressed = False

    def get(self, kind: QuotaKind) -> int | None:
        """Return the limit of a kind as it is just now; None for one that was never named."""
        return self._now.get(kind)

    def __len__(self) -> int:
        """Return how many limits were named."""
        return len(self._now)

    def __contains__(self, kind: QuotaKind) -> bool:
        """Say whether a limit was named."""
        return kind in self._now

    def forget(self, kind: QuotaKind) -> None:
        """Forget a limit: an operator has set another one."""
        self._now.pop(kind, None)
        self._named.pop(kind, None)

    def press(self) -> None:
        """Note that a call has to wait for a limit."""
        self._pressed = True

    def name(self, limits: Mapping[QuotaKind, int], probe_seconds: float, now: float) -> None:
        """Take over what upstream has named."""
        if not limits:
            return
        raised = {kind for kind, limit in limits.items() if self._now.get(kind, 0) > limit}
        if raised and all(self._named.get(kind) == limits[kind] for kind in raised):
            self._clean_seconds = min(2 * self._clean_seconds, _LONGEST_SECONDS)
        elif any(self._named.get(kind) != limit for kind, limit in limits.items()):
            self._clean_seconds = probe_seconds
        self._named.update(limits)
        self._now.update(limits)
        self._next, self._pressed = now + self._clean_seconds, False

    def refused(self, now: float) -> None:
        """Note a refusal that names no limit: the clean time begins anew."""
        self._next = now + self._clean_seconds

    def raise_due(self, configured: Mapping[QuotaKind, int], now: float) -> None:
        """Raise what was waited for, once the clean time is over; at most to what is configured."""
        if now < self._next:
            return
        self._next = now + self._clean_seconds
        if not self._pressed:
            return
        self._pressed = False
        for kind, limit in list(self._now.items()):
            if kind is QuotaKind.REQUESTS_PER_DAY:
                continue
            more, most = math.ceil(limit * _RAISE), configured[kind] or _MOST
            if more >= most:
                self.forget(kind)
            else:
                self._now[kind] = more


def named_in(error: ServiceError) -> Limits:
    """Read quotas and their values off the `QuotaFailure` of a refusal, as far as it has them."""
    return dict(_named(error))


def _named(error: ServiceError) -> Iterator[tuple[QuotaKind, int]]:
    for detail in error.upstream.details if error.upstream else ():
        if not str(detail.get("@type", "")).endswith("QuotaFailure"):
            continue
        violations = detail.get("violations")
        for violation in violations if isinstance(violations, list) else ():
            if not isinstance(violation, dict):
                continue
            kind = _kind(str(violation.get("quotaId", "")))
            value = str(violation.get("quotaValue", ""))
            if kind is not None and _NUMBER.fullmatch(value) and int(value):
                yield kind, int(value)


def _kind(quota: str) -> QuotaKind | None:
    tokens = "Token" in quota
    if "PerMinute" in quota:
        return QuotaKind.TOKENS_PER_MINUTE if tokens else QuotaKind.REQUESTS_PER_MINUTE
    return QuotaKind.REQUESTS_PER_DAY if "PerDay" in quota and not tokens else None
