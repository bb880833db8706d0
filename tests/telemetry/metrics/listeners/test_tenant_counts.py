"""What is counted by tenant, and how many tenants are told apart."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gemini.backend.v1.content_pb2 import Usage
from gemini_backend.call import Work
from gemini_backend.telemetry.events import (
    AccessRefused,
    AuthenticationRefused,
    Bus,
    ExecutionFinished,
    RpcFinished,
)
from gemini_backend.telemetry.metrics.listeners.tenant_counts import MAX_TENANTS, TenantCounts

if TYPE_CHECKING:
    from gemini_backend.telemetry.events.event import Event
    from gemini_backend.telemetry.metrics.metric_families import Values

PROCESS = "/gemini.backend.v1.ExecuteService/Process"


def rpc(tenant: str, code: str = "OK") -> RpcFinished:
    """Return the end of a tenant's call."""
    return RpcFinished("executions/1", PROCESS, tenant, "ann", code, "", 0.1)


def execution(tenant: str, *, pays: bool = True) -> ExecutionFinished:
    """Return the end of a tenant's execution: 7 tokens, 2 dollars."""
    return ExecutionFinished(
        "executions/1",
        PROCESS,
        Work.EXECUTION,
        tenant,
        "ann",
        usage=Usage(total_token_count=7),
        cost_nano_usd=2_000_000_000,
        pays=pays,
    )


def counted(*events: Event) -> dict[str, Values]:
    """Return what is counted of events, by family."""
    bus, counts = Bus(), TenantCounts()
    counts.listen(bus)
    for event in events:
        bus.publish(event)
    return {family.name: family.values for family in counts.families()}


def test_calls_tokens_and_costs_are_counted_by_tenant() -> None:
    """Of executions only those that paid."""
    found = counted(
        rpc("acme"),
        rpc("acme", "CANCELLED"),
        rpc("other-house"),
        execution("acme"),
        execution("acme", pays=False),
    )
    assert found["tenant_rpcs"] == {
        ("acme", "OK"): 1,
        ("acme", "CANCELLED"): 1,
        ("other-house", "OK"): 1,
    }
    assert found["tenant_tokens"] == {("acme",): 7}
    assert found["tenant_cost_usd"] == {("acme",): 2}


def test_labels_are_bounded() -> None:
    """Tenants beyond the bound, and whoever is nobody, are `other`."""
    rpcs = counted(*(rpc(f"t{n}") for n in range(MAX_TENANTS + 3)), rpc(""))["tenant_rpcs"]
    assert (MAX_TENANTS + 1, 4) == (len(rpcs), rpcs["other", "OK"])


def test_refusals_are_counted() -> None:
    """Who is nobody, and who may not, apart."""
    found = counted(
        AuthenticationRefused("1.2.3.4", PROCESS, "no"),
        AuthenticationRefused("1.2.3.4", PROCESS, "no"),
        AccessRefused("acme", "ann", "1.2.3.4", PROCESS, "no"),
    )
    assert ({(): 2}, {(): 1}) == (found["authentication_refusals"], found["access_refusals"])
