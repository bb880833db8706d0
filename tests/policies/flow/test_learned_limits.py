"""Limits that upstream has named are raised again where calls wait for them."""

from __future__ import annotations

from gemini_backend.policies.flow.learned_limits import LearnedLimits
from gemini_backend.telemetry.component_status import QuotaKind

RPM, TPM, RPD = QuotaKind
NOTHING = dict.fromkeys(QuotaKind, 0)


def named(limit: int = 10, kind: QuotaKind = RPM) -> LearnedLimits:
    """Return limits of which upstream has named one, at 0 s."""
    limits = LearnedLimits()
    limits.name({kind: limit}, 60.0, 0.0)
    return limits


def test_a_limit_is_raised_after_a_clean_time() -> None:
    """By half, if calls had to wait for it; once for each clean time."""
    limits, found = named(), []
    for now in (59.0, 60.0, 61.0, 120.0, 180.0):
        limits.press()
        limits.raise_due(NOTHING, now)
        found.append(limits.get(RPM))
    assert [10, 15, 15, 23, 35] == found


def test_what_nobody_waits_for_stays() -> None:
    """A limit that is not reached need not be tried."""
    limits = named()
    limits.raise_due(NOTHING, 60.0)
    assert 10 == limits.get(RPM)


def test_a_refusal_begins_the_clean_time_anew() -> None:
    """Whatever it names."""
    limits = named()
    limits.press()
    limits.refused(50.0)
    limits.raise_due(NOTHING, 100.0)
    assert 10 == limits.get(RPM)
    limits.raise_due(NOTHING, 110.0)
    assert 15 == limits.get(RPM)


def test_the_same_limit_again_is_tried_less_often() -> None:
    """Twice the time after each refusal, up to an hour; another limit begins anew."""
    limits, now, pauses = named(), 0.0, []
    for _ in range(8):
        begun = now
        while limits.get(RPM) == 10:
            now += 10
            limits.press()
            limits.raise_due(NOTHING, now)
        pauses.append(now - begun)
        limits.name({RPM: 10}, 60.0, now)
    assert [60, 120, 240, 480, 960, 1920, 3600, 3600] == pauses
    limits.name({RPM: 20}, 60.0, now)
    limits.press()
    limits.raise_due(NOTHING, now + 60)
    assert 30 == limits.get(RPM)


def test_no_limit_exceeds_what_is_configured() -> None:
    """There the configuration counts again."""
    limits = named(10)
    limits.press()
    limits.raise_due({**NOTHING, RPM: 14}, 60.0)
    assert (None, False) == (limits.get(RPM), RPM in limits)


def test_a_limit_by_the_day_is_not_raised() -> None:
    """It is tried by single calls."""
    limits = named(10, RPD)
    limits.press()
    limits.raise_due(NOTHING, 60.0)
    assert 10 == limits.get(RPD)
