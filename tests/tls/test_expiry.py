"""How long certificates are still valid, as metrics and health show it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import trustme

from gemini_backend.config.certificates import DAY_SECONDS, Certificate
from gemini_backend.config.sections.server import ServerOptions
from gemini_backend.telemetry.health.health_rules import HealthState
from gemini_backend.tls import CertificateHealth, LiveCertificates
from tests.support.pki import START, issue, write

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.clock import FakeClock

DAYS = 90.0
WARNING_DAYS = 14.0


@pytest.fixture
def live(tmp_path: Path, clock: FakeClock) -> LiveCertificates:
    """A certificate that is valid for 90 days from `START`."""
    options = ServerOptions(**write(tmp_path, issue(trustme.CA(), days=DAYS)))
    made = LiveCertificates(options, clock)
    made.current = replace(made.current, chain=made.current.chain[:1])
    return made


def after(live: LiveCertificates, days: float) -> CertificateHealth:
    """Return what judges at so many days after `START`."""
    return CertificateHealth(live, WARNING_DAYS, lambda: START.timestamp() + days * DAY_SECONDS)


@pytest.mark.parametrize(
    ("days", "state", "words"),
    [
        (1.0, HealthState.HEALTHY, ""),
        (DAYS - WARNING_DAYS - 0.1, HealthState.HEALTHY, ""),
        (DAYS - WARNING_DAYS + 1, HealthState.DEGRADED, "expires in 13.0 days; renew it"),
        (DAYS + 2, HealthState.UNHEALTHY, "expired 2.0 days ago; renew it"),
        (-3.0, HealthState.UNHEALTHY, "not valid for another 3.0 days; check the clock"),
    ],
)
def test_health_warns_before_the_end(
    live: LiveCertificates, days: float, state: HealthState, words: str
) -> None:
    """Degraded from 14 days before the end, unhealthy after it, and before the beginning."""
    found = after(live, days).component()
    assert (state, True) == (found.state, words in found.message)


def test_the_metric_counts_down(live: LiveCertificates) -> None:
    """Seconds until the end, of the server's certificate and of its clients' authorities."""
    end = START.timestamp() + DAYS * DAY_SECONDS
    (alone,) = after(live, 89).families()
    assert {("server",): DAY_SECONDS} == alone.values
    old = Certificate("old", 0.0, START.timestamp())
    good = Certificate("good", 0.0, end + DAY_SECONDS)
    live.current = replace(live.current, authorities=(old, good))
    (both,) = after(live, 89).families()
    assert {("server",): DAY_SECONDS, ("client_ca",): 2 * DAY_SECONDS} == both.values


def test_one_valid_authority_is_enough(live: LiveCertificates) -> None:
    """An authority that has expired counts once no other is left."""
    old = Certificate("old", 0.0, START.timestamp())
    good = Certificate("good", 0.0, START.timestamp() + DAYS * DAY_SECONDS)
    live.current = replace(live.current, authorities=(old, good))
    assert HealthState.HEALTHY == after(live, 1).component().state
    live.current = replace(live.current, authorities=(old,))
    assert HealthState.UNHEALTHY == after(live, 1).component().state


def test_a_change_of_state_is_logged_once(
    live: LiveCertificates, caplog: pytest.LogCaptureFixture
) -> None:
    """However often health is asked for, the log has one line for each change."""
    expiring = after(live, 80)
    for _ in range(3):
        expiring.component()
    assert [("certificates", "WARNING")] == [
        (record.message, record.levelname) for record in caplog.records
    ]


def test_new_files_that_cannot_be_used_degrade(live: LiveCertificates) -> None:
    """Health says that the certificates in use are not those on the disk."""
    live.problem = "the key belongs to another certificate"
    found = after(live, 1).component()
    assert (HealthState.DEGRADED, True) == (found.state, "still in use" in found.message)
