"""The command that shows how a running service is."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from google.protobuf.json_format import MessageToJson

from gemini.backend.v1.health_service_pb2 import (
    CircuitState,
    HealthState,
    QuotaKind,
    UpstreamKeyState,
    WatchHealthStatusRequest,
)
from gemini_backend_client.commands.command_line import (
    DONE,
    FAILED,
    add_connection_arguments,
    client_from,
    run_reported,
)
from gemini_backend_client.commands.table import table

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace
    from collections.abc import Callable, Iterator, Sequence

    from google.protobuf.timestamp_pb2 import Timestamp

    from gemini.backend.v1.health_service_pb2 import HealthStatus

__all__ = ["add_arguments", "run"]

_NUMBERS = frozenset({"FAILED", "OF", "CALLS", "REFUSED", "LEFT", "RUNNING", "OK"})
_MINUTE, _HOUR = 60, 3600


def add_arguments(parser: ArgumentParser) -> None:
    """Add the command's arguments to `parser`."""
    parser.add_argument("--json", action="store_true", help="print everything as one line of JSON")
    parser.add_argument(
        "--watch",
        action="store_true",
        help="print the health again whenever it changes, until Ctrl-C",
    )
    add_connection_arguments(parser)


def run(args: Namespace) -> int:
    """Print how the service is.

    Returns:
        0 when it takes calls, whatever the state of the models, 1 when it does not or could not
        answer, 2 for wrong use, 130 after Ctrl-C.
    """
    ready = True

    def show() -> None:
        nonlocal ready
        ready = _show(args, _as_json if args.json else as_text)

    return run_reported("gemini-backend health", show) or (DONE if ready else FAILED)


def as_text(status: HealthStatus) -> str:
    """Return the health for people: a sentence, then a table for each thing that there is."""
    takes = "accepts calls" if status.ready else "does not accept calls"
    head = f"{_word(HealthState.Name(status.state))}, {takes}: {status.message}\n"
    rows = (_parts, _models, _circuits, _quotas, _queue, _keys)
    tables = [list(made(status)) for made in rows]
    return "\n".join([head, *(table(one, _NUMBERS) for one in tables if len(one) > 1)])


def _show(args: Namespace, rendered: Callable[[HealthStatus], str]) -> bool:
    with client_from(args) as client:
        if not args.watch:
            status = client.health_status()
            sys.stdout.write(rendered(status))
            return status.ready
        method, request = client.stubs.health.WatchHealthStatus, WatchHealthStatusRequest()
        for change in client.stream(method, request, timeout=None):
            sys.stdout.write(rendered(change.status) + ("" if args.json else "\n"))
            sys.stdout.flush()
    return True


def _as_json(status: HealthStatus) -> str:
    return MessageToJson(status, preserving_proto_field_name=True, indent=None) + "\n"


def _parts(status: HealthStatus) -> Iterator[Sequence[str]]:
    yield "PART", "STATE", "WHY"
    for part in status.components:
        yield part.name, _word(HealthState.Name(part.state)), part.message


def _models(status: HealthStatus) -> Iterator[Sequence[str]]:
    yield "MODEL", "STATE", "FAILED", "OF", "WHY"
    for model in status.models:
        state = _word(HealthState.Name(model.state))
        failed, count = f"{model.error_ratio:.0%}", f"{model.executions:,}"
        yield _short(model.model), state, failed, count, model.message


def _circuits(status: HealthStatus) -> Iterator[Sequence[str]]:
    yield "CIRCUIT", "KEY", "STATE", "FAILED", "OF", "PROBE IN", "REFUSED"
    for one in status.circuit_breakers:
        yield (
            _short(one.model),
            one.key_id or "all",
            _word(CircuitState.Name(one.state)),
            f"{one.failure_ratio:.0%}",
            f"{one.window_calls:,}",
            _until(status, one.probe_time) if one.HasField("probe_time") else "-",
            f"{one.rejected_calls:,}",
        )


def _quotas(status: HealthStatus) -> Iterator[Sequence[str]]:
    yield "QUOTA", "PROJECT", "OF WHAT", "LEFT", "OF", "CLOSED FOR"
    for one in status.quota_buckets:
        yield (
            _short(one.model),
            one.project or "-",
            _word(QuotaKind.Name(one.kind)),
            f"{one.available:,}",
            f"{one.capacity:,}" if one.capacity else "-",
            _until(status, one.blocked_until) if one.HasField("blocked_until") else "-",
        )


def _queue(status: HealthStatus) -> Iterator[Sequence[str]]:
    queue = status.admission
    waiting = [f"{one.priority} {one.queued:,}" for one in queue.queues]
    yield "QUEUE", "RUNNING", "OF", "WAITING", "OF AT MOST", "REFUSED"
    if status.HasField("admission"):
        limit = f"{queue.limit:,}" if queue.limit else "any"
        counts = f"{queue.running:,}", limit, ", ".join(waiting), f"{queue.max_queued:,}"
        yield "", *counts, f"{queue.refused:,}"


def _keys(status: HealthStatus) -> Iterator[Sequence[str]]:
    yield "KEY", "PROJECT", "STATE", "UNTIL IN", "RUNNING", "OK", "FAILED"
    for key in status.upstream_keys:
        yield (
            key.key_id,
            key.project or "-",
            _word(UpstreamKeyState.Name(key.state)),
            _until(status, key.state_until) if key.HasField("state_until") else "-",
            f"{key.in_flight:,}",
            f"{key.succeeded:,}",
            f"{key.failed:,}",
        )


def _short(model: str) -> str:
    return model.removeprefix("models/")


def _word(name: str) -> str:
    """Return what a value of an enum says, without the enum's name."""
    for prefix in ("HEALTH_STATE_", "CIRCUIT_STATE_", "QUOTA_KIND_", "UPSTREAM_KEY_STATE_"):
        name = name.removeprefix(prefix)
    word = name.lower().replace("_", " ")
    return "unknown" if word == "unspecified" else word


def _until(status: HealthStatus, moment: Timestamp) -> str:
    """Return how long it is from the sample to a moment."""
    span = moment.ToNanoseconds() - status.sample_time.ToNanoseconds()
    seconds = max(0.0, span / 1e9)
    if seconds >= _HOUR:
        return f"{seconds / _HOUR:.1f} h"
    return f"{seconds / _MINUTE:.1f} min" if seconds >= _MINUTE else f"{seconds:.1f} s"
