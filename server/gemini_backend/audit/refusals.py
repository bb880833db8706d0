"""Refused authentication and access, in the audit log: so many per minute, the rest counted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gemini_backend.audit.entry import Act
from gemini_backend.errors import Forbidden, Unauthenticated
from gemini_backend.telemetry.events import AccessRefused, AuthenticationRefused

if TYPE_CHECKING:
    from collections.abc import Callable

    from gemini_backend.audit.log import AuditLog
    from gemini_backend.clock import Clock
    from gemini_backend.telemetry.events import Bus

_WINDOW_SECONDS = 60.0
AUTHENTICATION, ACCESS = "authentication", "access"
"""Actions of the entries."""


class Refusals:
    """Hears of refusals, whatever their number, at the price of a counter."""

    def __init__(self, log: AuditLog, per_minute: Callable[[], int], clock: Clock) -> None:
        """Write at most so many per minute into `log`."""
        self._log = log
        self._per_minute = per_minute
        self._clock = clock
        self._until = 0.0
        self._count = 0

    def listen(self, bus: Bus) -> None:
        """Hear of each refusal from now on."""
        bus.subscribe(AuthenticationRefused, self._unauthenticated)
        bus.subscribe(AccessRefused, self._forbidden)

    def _unauthenticated(self, event: AuthenticationRefused) -> None:
        if self._counts():
            act = Act(AUTHENTICATION, event.action, peer=event.peer, details={"why": event.why})
            code, reason = Unauthenticated.code.name, Unauthenticated.reason
            self._log.note(act._replace(code=code, reason=reason))

    def _forbidden(self, event: AccessRefused) -> None:
        if self._counts():
            act = Act(ACCESS, event.action, peer=event.peer, details={"why": event.why})
            act = act._replace(tenant=event.tenant, principal=event.principal)
            self._log.note(act._replace(code=Forbidden.code.name, reason=Forbidden.reason))

    def _counts(self) -> bool:
        """Return whether one more gets an entry."""
        now = self._clock.now()
        if now >= self._until:
            self._until, self._count = now + _WINDOW_SECONDS, 0
        if self._count >= self._per_minute():
            self._log.leave_out()
            return False
        self._count += 1
        return True
