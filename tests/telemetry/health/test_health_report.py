"""How health is judged.

Covers: telemetry/component_status.py, telemetry/health/health_rules.py,
telemetry/health/lifecycle.py, telemetry/health/model_health.py
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from gemini_backend.errors import CircuitOpen, InvalidRequest, ServiceError, UpstreamUnavailable
from gemini_backend.models.listing import UpstreamModel
from gemini_backend.telemetry.component_status import (
    AdmissionState,
    CircuitState,
    CircuitStatus,
    JournalState,
    KeyState,
    KeyStatus,
    QuotaKind,
    QuotaStatus,
)
from gemini_backend.telemetry.health.health_rules import HealthState
from tests.support.layers.service_parts import EPOCH, Board, board_of, serving
from tests.support.messages.events import ended

if TYPE_CHECKING:
    from gemini_backend.telemetry.health.health_report import ModelReport
    from tests.support.clock import FakeClock

A = UpstreamModel("models/a")


@pytest.fixture
def board(clock: FakeClock) -> Board:
    """A serving server that knows model a."""
    return serving(board_of(clock, A))


def _ended(board: Board, times: int, error: ServiceError | None = None) -> None:
    for _ in range(times):
        board.bus.publish(ended(error=error))


def _upstream(board: Board) -> tuple[HealthState, str]:
    part = next(one for one in board.reporter.report().components if one.name == "upstream")
    return part.state, part.message


def test_an_unused_server_is_healthy(board: Board) -> None:
    """What was never used is unknown, and speaks against nothing."""
    condition = board.reporter.report()
    assert (condition.state, condition.ready) == (HealthState.HEALTHY, True)
    assert {one.state for one in condition.components} == {HealthState.UNKNOWN}


def test_a_server_is_ready_only_while_it_serves(clock: FakeClock) -> None:
    """Before its ports are open, and from the drain on, a server is not ready."""
    board = board_of(clock, A)
    assert board.reporter.report().ready is False
    assert serving(board).reporter.report().ready is True
    board.lifecycle.drain()
    condition = board.reporter.report()
    assert (condition.ready, condition.message) == (False, "the server is draining")


def test_upstream_failures_degrade_then_break(board: Board) -> None:
    """A tenth of failures degrades, half of them breaks; the server stays ready and says why."""
    _ended(board, 8)
    assert _upstream(board) == (HealthState.HEALTHY, "")
    _ended(board, 2, UpstreamUnavailable("down"))
    assert _upstream(board)[0] is HealthState.DEGRADED
    _ended(board, 6, UpstreamUnavailable("down"))
    state, message = _upstream(board)
    assert state is HealthState.UNHEALTHY
    assert "50% of 16 executions" in message
    assert "UPSTREAM_UNAVAILABLE" in message
    condition = board.reporter.report()
    assert (condition.state, condition.ready) == (HealthState.UNHEALTHY, True)


def test_callers_faults_are_not_held_against_anybody(board: Board) -> None:
    """A refused request says nothing of the upstream."""
    _ended(board, 1)
    _ended(board, 50, InvalidRequest("no"))
    assert _upstream(board)[0] is HealthState.HEALTHY


def test_one_failure_alone_does_not_break(board: Board) -> None:
    """Below five executions the worst that is said is degraded."""
    _ended(board, 1, UpstreamUnavailable("down"))
    assert _upstream(board)[0] is HealthState.DEGRADED


async def test_failures_are_forgotten(board: Board) -> None:
    """What is older than five minutes no longer counts; when it was is still told."""
    _ended(board, 9, UpstreamUnavailable("down"))
    failed_at = board.wall()
    await board.clock.advance(400)
    (model,) = board.reporter.report().models
    assert model.state is HealthState.UNKNOWN
    assert model.last_failure == pytest.approx(failed_at)
    assert (model.last_success, model.last_failure_reason) == (None, "UPSTREAM_UNAVAILABLE")


async def test_an_old_list_of_models_degrades(board: Board) -> None:
    """A list that was due three times over degrades, and never breaks."""
    await board.listing.all()
    assert board.reporter.report().state is HealthState.HEALTHY
    await board.clock.advance(901)
    condition = board.reporter.report()
    assert condition.state is HealthState.DEGRADED
    assert "list of models" in condition.message


async def test_a_state_knows_since_when(board: Board) -> None:
    """A part's state has the time at which it was first seen."""
    first = board.reporter.report().components[0].since
    await board.clock.advance(10)
    assert board.reporter.report().components[0].since == first
    _ended(board, 1)
    assert board.reporter.report().components[0].since == EPOCH + board.clock.now()


async def test_only_real_changes_count(board: Board) -> None:
    """The time and the counts may move on without anything having changed."""
    before = board.reporter.report()
    await board.clock.advance(1)
    assert board.reporter.report().same_as(before)
    board.lifecycle.drain()
    assert not board.reporter.report().same_as(before)


def _circuit(board: Board, state: CircuitState, **changes: Any) -> CircuitStatus:
    now = board.clock.now()
    probe_at = now + 8 if state is CircuitState.OPEN else None
    status = CircuitStatus("models/a", state, now, probe_at, 20, 18, 3, opened=1)
    return replace(status, **({"reason": "UPSTREAM_UNREACHABLE"} | changes))


def _model(board: Board, name: str = "models/a") -> ModelReport:
    return next(one for one in board.reporter.report().models if one.model == name)


async def test_an_open_circuit_is_told_with_why_and_until_when(board: Board) -> None:
    """Its model and the upstream are unhealthy, in a sentence that an operator can act on."""
    board.stands(circuits=(_circuit(board, CircuitState.OPEN),))
    await board.clock.advance(2)
    expected = (
        "models/a is not called because its circuit is open: 18 of 20 attempts failed, the latest "
        "with UPSTREAM_UNREACHABLE; next probe in 6.0 s"
    )
    assert (HealthState.UNHEALTHY, expected) == (_model(board).state, _model(board).message)
    assert (HealthState.UNHEALTHY, expected) == _upstream(board)
    assert board.reporter.report().ready


def test_one_model_that_is_down_degrades_the_upstream(board: Board) -> None:
    """While the others work, it is not down as a whole."""
    well = _circuit(board, CircuitState.CLOSED, key="models/b", opened=0)
    board.stands(circuits=(_circuit(board, CircuitState.OPEN), well))
    assert HealthState.DEGRADED is _upstream(board)[0]
    assert HealthState.UNHEALTHY is _model(board).state


def test_one_key_that_is_down_degrades_the_model(board: Board) -> None:
    """Another key's circuit still lets calls through; the sentence names the key."""
    circuits = (
        _circuit(board, CircuitState.OPEN, key_id="k1"),
        _circuit(board, CircuitState.CLOSED, key_id="k2", opened=0),
    )
    board.stands(circuits=circuits)
    assert HealthState.DEGRADED is _model(board).state
    assert "models/a with key k1" in _model(board).message


def test_a_circuit_that_tries_again_degrades(board: Board) -> None:
    """Half open it works in part."""
    board.stands(circuits=(_circuit(board, CircuitState.HALF_OPEN),))
    assert HealthState.DEGRADED is _model(board).state
    assert "is being probed" in _model(board).message


async def test_a_model_is_well_again_once_its_circuit_has_closed(board: Board) -> None:
    """Failures before the cure no longer count for the state; the ratio still tells of them."""
    _ended(board, 20, UpstreamUnavailable("down"))
    board.stands(circuits=(_circuit(board, CircuitState.OPEN),))
    assert HealthState.UNHEALTHY is _upstream(board)[0]
    await board.clock.advance(10)
    board.stands(circuits=(_circuit(board, CircuitState.CLOSED),))
    assert (HealthState.HEALTHY, "") == _upstream(board)
    assert (HealthState.HEALTHY, 1.0, 20) == (
        _model(board).state,
        _model(board).error_ratio,
        _model(board).executions,
    )
    await board.clock.advance(6)
    _ended(board, 5, UpstreamUnavailable("down again"))
    assert HealthState.UNHEALTHY is _model(board).state


def test_refusals_by_an_open_circuit_are_the_upstreams_failures(board: Board) -> None:
    """They count, and the reason that is named is the one behind them."""
    _ended(board, 5, UpstreamUnavailable("down"))
    _ended(board, 15, CircuitOpen("left alone"))
    state, message = _upstream(board)
    assert HealthState.UNHEALTHY is state
    assert "100% of 20 executions failed, most often by UPSTREAM_UNAVAILABLE" in message
    assert "15 were refused because a circuit is open" in message


def test_a_quota_that_is_closed_is_told_of_its_model(board: Board) -> None:
    """For the minute it degrades; for the day, in every project, there is nothing left."""
    _ended(board, 5)
    now = board.clock.now()
    minute = QuotaStatus("models/a", QuotaKind.REQUESTS_PER_MINUTE, 10, 0, True, now + 12, "p")
    board.stands(quotas=(minute,))
    throttled = "upstream throttles models/a for another 12.0 s"
    assert (HealthState.DEGRADED, throttled) == (_model(board).state, _model(board).message)
    day = replace(minute, kind=QuotaKind.REQUESTS_PER_DAY, blocked_until=now + 7200)
    board.stands(quotas=(minute, day))
    assert HealthState.UNHEALTHY is _model(board).state
    assert "used up for another 2.0 h" in _model(board).message
    board.stands(quotas=(day,), keys=(_key("p"), _key("q")))
    assert HealthState.DEGRADED is _model(board).state
    board.stands(quotas=(replace(day, probe_at=now + 30),))
    assert _model(board).message.endswith("used up for another 2.0 h; next probe in 30.0 s")


def test_calls_that_wait_for_quota_are_told(board: Board) -> None:
    """Behind a throttle, and when they go out one after the other; each call once."""
    _ended(board, 5)
    now = board.clock.now()
    minute = QuotaStatus("models/a", QuotaKind.REQUESTS_PER_MINUTE, 10, 0, True, now + 12, "p")
    crowd = replace(minute, waiting=7)
    board.stands(quotas=(crowd,))
    assert _model(board).message == "upstream throttles models/a for another 12.0 s; 7 calls wait"
    tokens = replace(crowd, kind=QuotaKind.TOKENS_PER_MINUTE)
    open_again = tuple(replace(one, blocked_until=None) for one in (crowd, tokens))
    board.stands(quotas=(*open_again, replace(crowd, project="q", waiting=1, blocked_until=None)))
    assert (HealthState.DEGRADED, "8 calls wait for quota of models/a") == (
        _model(board).state,
        _model(board).message,
    )


def _key(project: str, state: KeyState = KeyState.ACTIVE) -> KeyStatus:
    return KeyStatus(f"key-{project}", project, state, None, 0, 1, 1)


def test_refused_keys_are_told(board: Board) -> None:
    """One of two degrades the upstream, all of them break it."""
    _ended(board, 5)
    board.stands(keys=(_key("p"), _key("q", KeyState.INVALID)))
    assert (HealthState.DEGRADED, "of 2 upstream keys: 1 refused by upstream") == _upstream(board)
    board.stands(keys=(_key("p", KeyState.INVALID),))
    assert HealthState.UNHEALTHY is _upstream(board)[0]


async def test_a_queue_that_refuses_degrades_for_a_minute(board: Board) -> None:
    """The sentence says how full it is; a minute after the last refusal it is well again."""
    full = AdmissionState(
        10, 10, (4, 0, 1), 1.0, 2.0, 7, max_queued=5, refused_at=board.clock.now()
    )
    board.stands(admission=full)
    condition = board.reporter.report()
    assert HealthState.DEGRADED is condition.state
    assert "10 run and 5 wait, limits 10 and 5" in condition.message
    await board.clock.advance(61)
    assert HealthState.HEALTHY is board.reporter.report().state


async def test_a_journal_that_loses_what_runs_degrades_for_a_minute(board: Board) -> None:
    """Executions that have ended may go for want of room; those that run should not."""
    journal = JournalState(10, 10, 1, 2, 500)
    board.stands(journal=journal)
    assert HealthState.HEALTHY is board.reporter.report().state
    board.stands(journal=replace(journal, cut_at=board.clock.now()))
    assert "raise journal.max_size_mb" in board.reporter.report().message
    await board.clock.advance(61)
    assert HealthState.HEALTHY is board.reporter.report().state


@pytest.mark.parametrize("caching", [True, False])
def test_a_cache_that_is_off_is_no_fault(board: Board, caching: bool) -> None:
    """It says that it is off, and nothing is the worse for it."""
    board.stands(caching=caching)
    condition = board.reporter.report()
    cache = next(one for one in condition.components if one.name == "cache")
    expected = (
        (HealthState.HEALTHY, "") if caching else (HealthState.UNKNOWN, "disabled by cache.mode")
    )
    assert expected == (cache.state, cache.message)
    assert HealthState.HEALTHY is condition.state


@pytest.mark.parametrize(
    ("change", "tells"),
    [
        ({"calls": 99, "failures": 98, "rejected": 1000}, False),
        ({"probe_at": 5.0, "reason": "UPSTREAM_UNAVAILABLE"}, False),
        ({"state": CircuitState.HALF_OPEN}, True),
        ({"state": CircuitState.CLOSED}, True),
        ({"opened": 2}, True),
    ],
)
def test_what_a_circuit_counts_is_no_change(
    board: Board, change: dict[str, Any], tells: bool
) -> None:
    """Watchers learn of states, and of each time that it opens, not of every call."""
    circuit = _circuit(board, CircuitState.OPEN)
    board.stands(circuits=(circuit,))
    before = board.reporter.report()
    board.stands(circuits=(replace(circuit, **change),))
    assert tells is not board.reporter.report().same_as(before)


def test_the_order_of_circuits_is_no_change(board: Board) -> None:
    """The one used last comes last; that says nothing."""
    both = [_circuit(board, CircuitState.CLOSED, key=f"models/{name}") for name in "ab"]
    board.stands(circuits=tuple(both))
    before = board.reporter.report()
    board.stands(circuits=tuple(reversed(both)))
    assert board.reporter.report().same_as(before)
