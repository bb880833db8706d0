"""Runs the load client and reads its report."""

from __future__ import annotations

import json
import subprocess
import tempfile
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any


class LoadError(Exception):
    """The load client could not run."""


@dataclass(frozen=True)
class Request:
    """One request, the same for every exchange of a run.

    Attributes:
        protocol: `http` or `grpc`.
        address: HOST:PORT.
        path: of the URL, or of the RPC.
        body: JSON, or a serialized message.
        min_messages: an answer with fewer is an error.
        first_field: gRPC: the number of the field that makes a message the first one; 0 = any.
    """

    protocol: str
    address: str
    path: str
    body: bytes
    min_messages: int = 1
    first_field: int = 0


@dataclass(frozen=True)
class Plan:
    """How many exchanges, and when.

    Attributes:
        total: exchanges in all.
        concurrency: open at a time, where `rate` is 0.
        rate: starts a second at random moments, whatever the answers do.
        connections: for gRPC.
        timeout: of the whole run, in seconds.
    """

    total: int
    concurrency: int = 8
    rate: float = 0.0
    connections: int = 4
    timeout: float = 60.0


@dataclass(frozen=True)
class Outcome:
    """What a run of the load client saw.

    Attributes:
        errors: exchanges that failed, or did not end in time.
        first_error: of the first one, in words.
        peak_open: the most exchanges that were open at the same time.
        first_us: time to the first message of each exchange, from the moment it was due.
        cpu_us: of the load client itself.
    """

    total: int
    errors: int
    first_error: str
    messages: int
    seconds: float
    cpu_us: float
    peak_open: int
    first_us: tuple[float, ...]


def run(binary: Path, request: Request, plan: Plan) -> Outcome:
    """Runs the load client to its end.

    Raises:
        LoadError: the client could not run, or printed no report.
    """
    with tempfile.NamedTemporaryFile() as body:
        body.write(request.body)
        body.flush()
        command = _command(binary, request, plan, Path(body.name))
        done = subprocess.run(command, stdout=subprocess.PIPE, check=False)
    try:
        report: dict[str, Any] = json.loads(done.stdout)
    except ValueError as error:
        message = f"the load client ended with {done.returncode} and no report"
        raise LoadError(message) from error
    report["first_us"] = tuple(report["first_us"])
    return Outcome(**{each.name: report[each.name] for each in fields(Outcome)})


def percentile(values: list[float], percent: float) -> float:
    """Returns the nearest-rank percentile of `values`, or 0.0 when there are none."""
    if not values:
        return 0.0
    ordered = sorted(values)
    rank = max(1, -(-len(ordered) * percent // 100))
    return ordered[int(rank) - 1]


def _command(binary: Path, request: Request, plan: Plan, body: Path) -> list[str]:
    values = {
        "proto": request.protocol,
        "connect": request.address,
        "path": request.path,
        "body": body,
        "total": plan.total,
        "concurrency": plan.concurrency,
        "rate": plan.rate,
        "connections": plan.connections,
        "min-messages": request.min_messages,
        "first-field": request.first_field,
        "timeout": plan.timeout,
    }
    return [str(binary), *(f"--{name}={value}" for name, value in values.items())]
