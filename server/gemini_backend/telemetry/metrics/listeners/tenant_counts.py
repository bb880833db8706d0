"""What each tenant does and costs, and who was refused; heard where callers are authenticated."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from gemini_backend.telemetry.events import (
    AccessRefused,
    AuthenticationRefused,
    ExecutionFinished,
    RpcFinished,
)
from gemini_backend.telemetry.metrics.metric_families import Family

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gemini_backend.telemetry.events import Bus

MAX_TENANTS = 100
"""Tenants that are told apart, in the order of their first call; the others are `other`."""
OTHER = "other"
NOBODY = ""
_NANO = 1e9


class TenantCounts:
    """Counts calls, tokens and costs by tenant, and refusals."""

    def __init__(self) -> None:
        """Count from now on."""
        self._tenants: set[str] = set()
        self._rpcs: defaultdict[tuple[str, ...], float] = defaultdict(float)
        self._tokens: defaultdict[tuple[str, ...], float] = defaultdict(float)
        self._costs: defaultdict[tuple[str, ...], float] = defaultdict(float)
        self._unauthenticated = 0
        self._forbidden = 0

    def listen(self, bus: Bus) -> None:
        """Count what is published from now on."""
        bus.subscribe(RpcFinished, self._rpc_finished)
        bus.subscribe(ExecutionFinished, self._execution_finished)
        bus.subscribe(AuthenticationRefused, self._authentication_refused)
        bus.subscribe(AccessRefused, self._access_refused)

    def _label_of(self, tenant: str) -> str:
        if tenant in self._tenants:
            return tenant
        if tenant == NOBODY or len(self._tenants) >= MAX_TENANTS:
            return OTHER
        self._tenants.add(tenant)
        return tenant

    def _rpc_finished(self, event: RpcFinished) -> None:
        self._rpcs[self._label_of(event.tenant), event.code] += 1

    def _execution_finished(self, event: ExecutionFinished) -> None:
        if not event.pays:
            return
        label = self._label_of(event.tenant)
        if event.usage is not None:
            self._tokens[(label,)] += event.usage.total_token_count
        if event.cost_nano_usd:
            self._costs[(label,)] += event.cost_nano_usd / _NANO

    def _authentication_refused(self, _event: AuthenticationRefused) -> None:
        self._unauthenticated += 1

    def _access_refused(self, _event: AccessRefused) -> None:
        self._forbidden += 1

    def families(self) -> Iterator[Family]:
        """Yield what was counted."""
        tenant = ("tenant",)
        said = "Completed RPCs by tenant, by the code that the caller received."
        yield Family("counter", "tenant_rpcs", said, dict(self._rpcs), (*tenant, "code"))
        said = "Tokens of executions and embeddings that were paid for, by tenant."
        yield Family("counter", "tenant_tokens", said, dict(self._tokens), tenant)
        said = "Cost in US dollars of executions and embeddings, as far as known, by tenant."
        yield Family("counter", "tenant_cost_usd", said, dict(self._costs), tenant)
        said = "Calls and page requests without a valid credential."
        yield Family.counter("authentication_refusals", said, self._unauthenticated)
        said = "Calls and page requests of principals without a sufficient role."
        yield Family.counter("access_refusals", said, self._forbidden)
