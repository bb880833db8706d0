"""Whether a model answers is what health says of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from gemini.backend.v1.content_pb2 import Usage
from gemini_backend.api.model_measures import ModelMeasures
from gemini_backend.errors import InvalidRequest, UpstreamUnavailable
from gemini_backend.models.listing import UpstreamModel
from gemini_backend.models.measured import NOTHING, Availability
from gemini_backend.telemetry.component_status import (
    CircuitState,
    CircuitStatus,
    QuotaKind,
    QuotaStatus,
)
from gemini_backend.telemetry.metrics.model_speeds import ModelSpeeds
from tests.support.layers.service_parts import Board, board_of, serving
from tests.support.messages.events import ended

if TYPE_CHECKING:
    from tests.support.clock import FakeClock


class Case:
    """Measures of a model a, and the health of the same server."""

    def __init__(self, clock: FakeClock) -> None:
        self.board: Board = serving(board_of(clock, UpstreamModel("models/a")))
        speeds = ModelSpeeds(clock, {"models/a": "a"}.get)
        speeds.listen(self.board.bus)
        self.measures = ModelMeasures(
            self.board.metrics, speeds, self.board.component_status, clock
        )

    def ended(self, succeeded: int = 0, failed: int = 0, refused: int = 0) -> None:
        for _ in range(succeeded):
            self.board.bus.publish(ended("models/a", usage=Usage()))
        for _ in range(failed):
            self.board.bus.publish(ended("models/a", error=UpstreamUnavailable("down")))
        for _ in range(refused):
            self.board.bus.publish(ended("models/a", error=InvalidRequest("no")))

    def circuit(self, state: CircuitState) -> None:
        now = self.board.clock.now()
        probe_at = now + 8 if state is CircuitState.OPEN else None
        self.board.stands(circuits=(CircuitStatus("models/a", state, now, probe_at, 20, 18, 3),))


@pytest.mark.parametrize(
    ("succeeded", "failed", "broken", "availability"),
    [
        (20, 1, False, Availability.AVAILABLE),
        (9, 1, False, Availability.DEGRADED),
        (6, 4, False, Availability.DEGRADED),
        (5, 5, False, Availability.UNAVAILABLE),
        (1, 9, False, Availability.UNAVAILABLE),
        (0, 4, False, Availability.DEGRADED),
        (20, 0, True, Availability.UNAVAILABLE),
        (0, 0, True, Availability.UNAVAILABLE),
    ],
)
def test_failures_and_open_circuits_tell_whether_a_model_answers(
    clock: FakeClock, succeeded: int, failed: int, broken: bool, availability: Availability
) -> None:
    """From a tenth of failures on it is degraded, from half of five on it does not answer."""
    case = Case(clock)
    case.ended(succeeded, failed)
    if broken:
        case.circuit(CircuitState.OPEN)
    seen = case.measures.of("models/a")
    assert availability is seen.availability
    # one judge: the health of the same model is the same state by another name
    states = {model.model: model.state.name for model in case.board.reporter.report().models}
    names = {"AVAILABLE": "HEALTHY", "DEGRADED": "DEGRADED", "UNAVAILABLE": "UNHEALTHY"}
    assert names[availability.name] == states["models/a"]


def test_callers_errors_speak_against_no_model(clock: FakeClock) -> None:
    """The share of failures leaves them out; without any execution there is none."""
    case = Case(clock)
    case.ended(refused=50)
    assert (Availability.UNKNOWN, None) == (
        case.measures.of("a").availability,
        case.measures.of("a").error_ratio,
    )
    case.ended(succeeded=3, failed=1)
    assert 0.25 == case.measures.of("a").error_ratio


def test_a_model_that_is_throttled_is_degraded(clock: FakeClock) -> None:
    """A quota that upstream has closed is part of the judgement."""
    case = Case(clock)
    case.ended(succeeded=5)
    until = clock.now() + 12
    quota = QuotaStatus("models/a", QuotaKind.REQUESTS_PER_MINUTE, 10, 0, True, until, "p")
    case.board.stands(quotas=(quota,))
    assert Availability.DEGRADED is case.measures.of("a").availability


def test_speeds_come_with_it(clock: FakeClock) -> None:
    """Times and samples are those that were measured; of unknown models nothing is said."""
    case = Case(clock)
    case.ended(succeeded=2)
    seen = case.measures.of("models/a")
    assert (2, 1.0) == (seen.samples, pytest.approx(seen.latency_p50))
    assert NOTHING == case.measures.of("models/nobody")
