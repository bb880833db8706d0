"""The health and what it is judged by, packed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gemini.backend.v1 import health_service_pb2 as pb
from gemini.backend.v1.error_details_pb2 import ERROR_REASON_UNSPECIFIED, ErrorReason
from gemini_backend.durations import duration_of, timestamp_of
from gemini_backend.policies.flow.admission import PRIORITIES
from gemini_backend.telemetry.component_status import CircuitState, KeyState, QuotaKind
from gemini_backend.telemetry.health.health_rules import HealthState

if TYPE_CHECKING:
    from gemini_backend.telemetry.component_status import (
        AdmissionState,
        CircuitStatus,
        KeyStatus,
        QuotaStatus,
    )
    from gemini_backend.telemetry.health.health_report import Component, HealthReport, ModelReport

STATES = {
    HealthState.UNKNOWN: pb.HEALTH_STATE_UNSPECIFIED,
    HealthState.HEALTHY: pb.HEALTH_STATE_HEALTHY,
    HealthState.DEGRADED: pb.HEALTH_STATE_DEGRADED,
    HealthState.UNHEALTHY: pb.HEALTH_STATE_UNHEALTHY,
}
_CIRCUITS = {
    CircuitState.CLOSED: pb.CIRCUIT_STATE_CLOSED,
    CircuitState.OPEN: pb.CIRCUIT_STATE_OPEN,
    CircuitState.HALF_OPEN: pb.CIRCUIT_STATE_HALF_OPEN,
}
_QUOTAS = {
    QuotaKind.REQUESTS_PER_MINUTE: pb.QUOTA_KIND_REQUESTS_PER_MINUTE,
    QuotaKind.TOKENS_PER_MINUTE: pb.QUOTA_KIND_TOKENS_PER_MINUTE,
    QuotaKind.REQUESTS_PER_DAY: pb.QUOTA_KIND_REQUESTS_PER_DAY,
}
_KEYS = {
    KeyState.UNKNOWN: pb.UPSTREAM_KEY_STATE_UNSPECIFIED,
    KeyState.ACTIVE: pb.UPSTREAM_KEY_STATE_ACTIVE,
    KeyState.THROTTLED: pb.UPSTREAM_KEY_STATE_THROTTLED,
    KeyState.EXHAUSTED: pb.UPSTREAM_KEY_STATE_EXHAUSTED,
    KeyState.INVALID: pb.UPSTREAM_KEY_STATE_INVALID,
}
_REASONS = {name.removeprefix("ERROR_REASON_"): value for name, value in ErrorReason.items()}


def status_message(condition: HealthReport) -> pb.HealthStatus:
    """Return all of a condition."""
    component_status, epoch = condition.component_status, condition.epoch
    return pb.HealthStatus(
        state=STATES[condition.state],
        live=True,
        ready=condition.ready,
        message=condition.message,
        components=[_component(one) for one in condition.components],
        models=[_model(one) for one in condition.models],
        circuit_breakers=[_circuit(one, epoch) for one in component_status.circuits],
        quota_buckets=[_quota(one, epoch) for one in component_status.quotas],
        admission=None
        if component_status.admission is None
        else _admission(component_status.admission, epoch),
        upstream_keys=[_key(one, epoch) for one in component_status.keys],
        sample_time=timestamp_of(condition.time),
    )


def _component(component: Component) -> pb.ComponentHealth:
    return pb.ComponentHealth(
        name=component.name,
        state=STATES[component.state],
        essential=component.essential,
        message=component.message,
        state_time=timestamp_of(component.since),
    )


def _model(model: ModelReport) -> pb.ModelHealth:
    return pb.ModelHealth(
        model=model.model,
        state=STATES[model.state],
        error_ratio=model.error_ratio,
        executions=model.executions,
        last_success_time=timestamp_of(model.last_success),
        last_failure_time=timestamp_of(model.last_failure),
        last_failure_reason=_reason(model.last_failure_reason),
        message=model.message,
    )


def _circuit(circuit: CircuitStatus, epoch: float) -> pb.CircuitBreakerStatus:
    probe_at = circuit.probe_at
    return pb.CircuitBreakerStatus(
        model=circuit.key,
        key_id=circuit.key_id,
        state=_CIRCUITS[circuit.state],
        failure_ratio=circuit.failures / circuit.calls if circuit.calls else 0.0,
        window_calls=circuit.calls,
        state_time=timestamp_of(epoch + circuit.since),
        probe_time=None if probe_at is None else timestamp_of(epoch + probe_at),
        rejected_calls=circuit.rejected,
        last_failure_reason=_reason(circuit.reason),
        opened_count=circuit.opened,
    )


def _quota(quota: QuotaStatus, epoch: float) -> pb.QuotaBucketStatus:
    until = quota.blocked_until
    return pb.QuotaBucketStatus(
        project=quota.project,
        model=quota.model,
        kind=_QUOTAS[quota.kind],
        capacity=quota.capacity,
        available=quota.available,
        learned=quota.learned,
        blocked_until=None if until is None else timestamp_of(epoch + until),
        waiting_calls=quota.waiting,
        blocked_reason=_reason(quota.reason),
        probe_time=None if quota.probe_at is None else timestamp_of(epoch + quota.probe_at),
    )


def _admission(state: AdmissionState, epoch: float) -> pb.AdmissionStatus:
    refused_at = state.refused_at
    return pb.AdmissionStatus(
        running=state.running,
        limit=state.limit or 0,
        adaptive=state.adaptive,
        queues=[
            pb.QueueDepth(priority=name, queued=count)
            for name, count in zip(PRIORITIES, state.queued, strict=True)
        ],
        max_queued=state.max_queued,
        oldest_wait=duration_of(state.oldest_wait),
        estimated_wait=duration_of(state.estimated_wait),
        refused=state.refused,
        last_refusal_time=None if refused_at is None else timestamp_of(epoch + refused_at),
        loop_delay=duration_of(state.loop_delay or None),
    )


def _key(key: KeyStatus, epoch: float) -> pb.UpstreamKeyStatus:
    return pb.UpstreamKeyStatus(
        key_id=key.key_id,
        project=key.project,
        state=_KEYS[key.state],
        state_until=None if key.until is None else timestamp_of(epoch + key.until),
        in_flight=key.in_flight,
        succeeded=key.succeeded,
        failed=key.failed,
        last_failure_reason=_reason(key.last_failure_reason),
    )


def _reason(name: str) -> ErrorReason.ValueType:
    return _REASONS.get(name, ERROR_REASON_UNSPECIFIED)
