"""How health is judged."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from gemini_backend.errors import InvalidRequest, ServiceError, UpstreamUnavailable
from gemini_backend.models.listing import UpstreamModel
from gemini_backend.telemetry.condition import State
from gemini_backend.telemetry.events import ExecutionFinished
from tests.support.board import EPOCH, Board, board_of, serving
from tests.support.calls import make_call

if TYPE_CHECKING:
    from tests.support.clock import FakeClock

A = UpstreamModel("models/a")


@pytest.fixture
def board(clock: FakeClock) -> Board:
    """A serving server that knows model a."""
    return serving(board_of(clock, A))


def _ended(board: Board, times: int, error: ServiceError | None = None) -> None:
    for _ in range(times):
        call = make_call(board.clock)
        event = ExecutionFinished(call, "models/a", 1.0, None, None, error, cancelled=False)
        board.metrics.execution_finished(event)


def _upstream(board: Board) -> tuple[State, str]:
    part = next(one for one in board.reporter.report().components if one.name == "upstream")
    return part.state, part.message


def test_an_unused_server_is_healthy(board: Board) -> None:
    """What was never used is unknown, and speaks against nothing."""
    condition = board.reporter.report()
    assert (condition.state, condition.ready) == (State.HEALTHY, True)
    assert {one.state for one in condition.components} == {State.UNKNOWN}


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
    assert _upstream(board) == (State.HEALTHY, "")
    _ended(board, 2, UpstreamUnavailable("down"))
    assert _upstream(board)[0] is State.DEGRADED
    _ended(board, 6, UpstreamUnavailable("down"))
    state, message = _upstream(board)
    assert state is State.UNHEALTHY
    assert "50% of 16 executions" in message
    assert "UPSTREAM_UNAVAILABLE" in message
    condition = board.reporter.report()
    assert (condition.state, condition.ready) == (State.UNHEALTHY, True)


def test_callers_faults_are_not_held_against_anybody(board: Board) -> None:
    """A refused request says nothing of the upstream."""
    _ended(board, 1)
    _ended(board, 50, InvalidRequest("no"))
    assert _upstream(board)[0] is State.HEALTHY


def test_one_failure_alone_does_not_break(board: Board) -> None:
    """Below five executions the worst that is said is degraded."""
    _ended(board, 1, UpstreamUnavailable("down"))
    assert _upstream(board)[0] is State.DEGRADED


async def test_failures_are_forgotten(board: Board) -> None:
    """What is older than five minutes no longer counts; when it was is still told."""
    _ended(board, 9, UpstreamUnavailable("down"))
    failed_at = board.wall()
    await board.clock.advance(400)
    (model,) = board.reporter.report().models
    assert model.state is State.UNKNOWN
    assert model.last_failure == pytest.approx(failed_at)
    assert (model.last_success, model.last_failure_reason) == (None, "UPSTREAM_UNAVAILABLE")


async def test_an_old_list_of_models_degrades(board: Board) -> None:
    """A list that was due three times over degrades, and never breaks."""
    await board.listing.all()
    assert board.reporter.report().state is State.HEALTHY
    await board.clock.advance(901)
    condition = board.reporter.report()
    assert condition.state is State.DEGRADED
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
