"""How long the certificates in use are still valid: a metric, and a component of health."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from gemini_backend.telemetry.health.health_report import Component
from gemini_backend.telemetry.health.health_rules import HEALTHY, HealthState, HealthVerdict, worst
from gemini_backend.telemetry.metrics.metric_families import Family

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from gemini_backend.clock import Clock
    from gemini_backend.config.certificates import Certificate
    from gemini_backend.tls.live import LiveCertificates

_LOOK_SECONDS = 60.0
_LEVELS = {HealthState.DEGRADED: logging.WARNING, HealthState.UNHEALTHY: logging.ERROR}

_log = logging.getLogger(__name__)


class CertificateHealth:
    """Degraded some days before a certificate expires, unhealthy from then on.

    Of the authorities of clients one that is still valid is enough. A change of state is logged.
    """

    def __init__(
        self,
        live: LiveCertificates,
        warning_days: float,
        wall: Callable[[], float] = time.time,
    ) -> None:
        """Judge what is in use; `wall` gives seconds since the epoch."""
        self._live = live
        self._warning_days = warning_days
        self._wall = wall
        self._logged = HealthState.HEALTHY

    def families(self) -> Iterator[Family]:
        """Yield the metric."""
        now, current = self._wall(), self._live.current
        values = {("server",): min(one.not_after for one in current.chain) - now}
        if current.authorities:
            values["client_ca",] = _last_of_valid(current.authorities, now) - now
        said = "Time until the certificate in use expires; negative afterwards."
        yield Family("gauge", "tls_certificate_expiry_seconds", said, values, ("certificate",))

    async def run(self, clock: Clock) -> None:
        """Look again and again, so that the log has it also if nobody asks; until cancelled."""
        while True:
            self.component()
            await clock.sleep(_LOOK_SECONDS)

    def component(self) -> Component:
        """Say how the certificates are."""
        now, current = self._wall(), self._live.current
        verdict = worst(
            (
                HEALTHY,
                self._judged("server.tls_cert_file", current.chain, now),
                self._judged_some("server.tls_client_ca_file", current.authorities, now),
                self._not_in_use(),
            )
        )
        if verdict.state is not self._logged:
            level = _LEVELS.get(verdict.state, logging.INFO)
            facts = {"state": verdict.state.name.lower(), "reason": verdict.message}
            _log.log(level, "certificates", extra=facts)
            self._logged = verdict.state
        return Component("certificates", verdict.state, verdict.message, essential=True)

    def _judged(self, setting: str, found: Sequence[Certificate], now: float) -> HealthVerdict:
        if problems := [text for one in found if (text := one.problem(now))]:
            return HealthVerdict(HealthState.UNHEALTHY, f"{setting}: {'; '.join(problems)}")
        notices = [text for one in found if (text := one.notice(now, self._warning_days))]
        if notices:
            return HealthVerdict(HealthState.DEGRADED, f"{setting}: {'; '.join(notices)}")
        return HEALTHY

    def _judged_some(self, setting: str, found: Sequence[Certificate], now: float) -> HealthVerdict:
        """Judge authorities: those that have expired count only where no other is left."""
        valid = [one for one in found if not one.problem(now)]
        return self._judged(setting, valid or found, now)

    def _not_in_use(self) -> HealthVerdict:
        if not self._live.problem:
            return HEALTHY
        message = f"the certificates before are still in use: {self._live.problem}"
        return HealthVerdict(HealthState.DEGRADED, message)


def _last_of_valid(found: Sequence[Certificate], now: float) -> float:
    """Return when the first of those expires that are still valid; of none, when the last did."""
    valid = [one.not_after for one in found if one.not_after >= now]
    return min(valid) if valid else max(one.not_after for one in found)
