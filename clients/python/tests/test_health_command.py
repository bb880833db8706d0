"""What `gemini-backend health` prints."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from gemini.backend.v1.health_service_pb2 import HealthStatus
from gemini_backend_client.commands.health import as_text

_NOW = datetime(2026, 11, 30, tzinfo=UTC)
_DOWN = HealthStatus(
    state="HEALTH_STATE_UNHEALTHY",
    ready=True,
    message="models/a is not called because its circuit is open",
    sample_time=_NOW,
    components=[{"name": "upstream", "state": "HEALTH_STATE_UNHEALTHY", "message": "down"}],
    models=[
        {
            "model": "models/a",
            "state": "HEALTH_STATE_UNHEALTHY",
            "error_ratio": 0.95,
            "executions": 1200,
            "message": "left alone",
        }
    ],
    circuit_breakers=[
        {
            "model": "models/a",
            "state": "CIRCUIT_STATE_OPEN",
            "failure_ratio": 0.9,
            "window_calls": 20,
            "probe_time": _NOW + timedelta(seconds=8.3),
            "rejected_calls": 1500,
        },
        {"model": "models/b", "key_id": "k1", "state": "CIRCUIT_STATE_HALF_OPEN"},
    ],
    quota_buckets=[
        {
            "project": "p",
            "model": "models/a",
            "kind": "QUOTA_KIND_REQUESTS_PER_DAY",
            "blocked_until": _NOW + timedelta(hours=2),
        }
    ],
    admission={
        "running": 10,
        "limit": 10,
        "queues": [{"priority": "interactive", "queued": 3}, {"priority": "batch"}],
        "max_queued": 100,
        "refused": 7,
    },
    upstream_keys=[
        {
            "key_id": "k1",
            "project": "p",
            "state": "UPSTREAM_KEY_STATE_THROTTLED",
            "state_until": _NOW + timedelta(seconds=90),
            "in_flight": 1,
            "succeeded": 5,
            "failed": 2,
        }
    ],
)


def _rows(text: str) -> list[list[str]]:
    return [line.split() for line in text.splitlines() if line]


def test_what_is_wrong_is_told_for_each_part() -> None:
    """A sentence, then a table for each thing that there is, with times as spans from now."""
    text = as_text(_DOWN)
    assert text.startswith(
        "unhealthy, accepts calls: models/a is not called because its circuit is open\n"
    )
    rows = _rows(text)
    assert ["upstream", "unhealthy", "down"] in rows
    assert ["a", "unhealthy", "95%", "1,200", "left", "alone"] in rows
    assert ["a", "all", "open", "90%", "20", "8.3", "s", "1,500"] in rows
    assert ["b", "k1", "half", "open", "0%", "0", "-", "0"] in rows
    assert ["a", "p", "requests", "per", "day", "0", "-", "2.0", "h"] in rows
    assert ["10", "10", "interactive", "3,", "batch", "0", "100", "7"] in rows
    assert ["k1", "p", "throttled", "1.5", "min", "1", "5", "2"] in rows


def test_what_there_is_not_is_left_out() -> None:
    """A server that has done nothing has a sentence and no empty tables."""
    status = HealthStatus(message="the server is draining", sample_time=_NOW)
    assert "unknown, does not accept calls: the server is draining\n" == as_text(status)
