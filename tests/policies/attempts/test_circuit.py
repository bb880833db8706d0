"""A circuit against a small model of it, and its rules one by one.

Covers: policies/flow/sliding_window.py
"""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from gemini_backend.config.sections.resilience import BreakerOptions
from gemini_backend.policies.attempts.circuit import Circuit, Pass
from gemini_backend.telemetry.component_status import CircuitState

OPTIONS = BreakerOptions(
    failure_ratio=0.5,
    minimum_calls=4,
    window_seconds=10,
    consecutive_failures=3,
    break_seconds=5,
    max_break_seconds=20,
    half_open_probes=2,
)
SLOT = 1.0


def entered(circuit: Circuit, options: BreakerOptions, now: float) -> Pass | None:
    given = Pass()
    return given if circuit.enter(given, options, now) else None


class CircuitMachine(RuleBasedStateMachine):
    """Plays any order of calls, outcomes and time, and keeps a list of what must be counted."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 100.0
        self.circuit = Circuit(OPTIONS, self.now)
        self.state = CircuitState.CLOSED
        self.round = 0
        self.until = 0.0
        self.outage = 0.0
        self.since = 100.0
        self.probing = self.proved = self.disproved = self.let_through = 0
        self.row: list[int] = []
        self.outcomes: list[list[float | bool]] = []
        self.open_calls: list[tuple[Pass, int, bool]] = []
        self.begun: list[tuple[Pass, int, bool, list[float | bool] | None]] = []

    def become(self, state: CircuitState) -> None:
        if self.state is CircuitState.CLOSED:
            self.outage = self.now
        self.state, self.round, self.since = state, self.round + 1, self.now
        self.probing = self.proved = self.disproved = self.let_through = 0
        self.row: list[int] = []
        if state is CircuitState.OPEN:
            self.until = self.now + min(max(5, (self.now - self.outage) / 4), 20)
        if state is CircuitState.CLOSED:
            self.outcomes = []

    def counted(self) -> list[list[float | bool]]:
        slot = int(self.now / SLOT)
        return [one for one in self.outcomes if int(one[0] / SLOT) > slot - 10]

    @rule(seconds=st.sampled_from([0.0, 0.1, 1.0, 4.9, 5.0, 30.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def enter(self) -> None:
        if self.state is CircuitState.OPEN and self.now >= self.until:
            self.become(CircuitState.HALF_OPEN)
        probe = self.state is CircuitState.HALF_OPEN
        at_once = 1 + self.proved + int(self.now - self.since)
        may = self.state is CircuitState.CLOSED or (
            probe and self.probing < min(at_once, OPTIONS.half_open_probes - self.proved)
        )
        given = entered(self.circuit, OPTIONS, self.now)
        assert may == (given is not None)
        if given is not None:
            self.probing += probe
            self.let_through += not probe
            self.open_calls.append((given, self.round, probe))

    @precondition(lambda self: self.open_calls)
    @rule(data=st.data())
    def succeed(self, data: st.DataObject) -> None:
        given, number, probe = self.take(data)
        self.circuit.succeed(given, OPTIONS, self.now)
        entry: list[float | bool] | None = None
        if number == self.round:
            self.row = []
            if probe:
                self.probing -= 1
                self.proved += 1
                if self.proved >= OPTIONS.half_open_probes:
                    self.become(CircuitState.CLOSED)
            else:
                entry = [self.now, True]
                self.outcomes.append(entry)
            self.begun.append((given, number, probe, entry))

    @precondition(lambda self: self.open_calls)
    @rule(data=st.data())
    def fail(self, data: st.DataObject) -> None:
        given, number, probe = self.take(data)
        self.circuit.fail(given, OPTIONS, self.now)
        if number == self.round:
            self.probing -= probe
            self.failed(given, probe=probe)

    @precondition(lambda self: self.begun)
    @rule(data=st.data())
    def fail_after_all(self, data: st.DataObject) -> None:
        index = data.draw(st.integers(0, len(self.begun) - 1))
        given, number, probe, entry = self.begun.pop(index)
        self.circuit.fail(given, OPTIONS, self.now)
        if number == self.round:
            if entry is not None:
                self.outcomes.remove(entry)
            self.failed(given, probe=probe)

    @precondition(lambda self: self.open_calls)
    @rule(data=st.data())
    def forget(self, data: st.DataObject) -> None:
        given, number, probe = self.take(data)
        self.circuit.forget(given)
        if number == self.round:
            self.probing -= probe

    def take(self, data: st.DataObject) -> tuple[Pass, int, bool]:
        return self.open_calls.pop(data.draw(st.integers(0, len(self.open_calls) - 1)))

    def failed(self, given: Pass, *, probe: bool) -> None:
        if probe:
            self.disproved += 1
            if not self.proved or self.disproved >= OPTIONS.half_open_probes:
                self.become(CircuitState.OPEN)
            return
        self.outcomes.append([self.now, False])
        self.row.append(given.number)
        begun = self.let_through - min(self.row) + 1
        if len(self.row) >= OPTIONS.consecutive_failures and len(self.row) >= 0.5 * begun:
            self.become(CircuitState.OPEN)
            return
        counted = self.counted()
        failures = sum(not one[1] for one in counted)
        if len(counted) >= OPTIONS.minimum_calls and failures * 2 >= len(counted):
            self.become(CircuitState.OPEN)

    @invariant()
    def agrees(self) -> None:
        assert self.state is self.circuit.state
        if self.state is CircuitState.CLOSED:
            counted = self.counted()
            failures = sum(not one[1] for one in counted)
            assert (len(counted), failures) == self.circuit.counts(self.now)


TestCircuit = CircuitMachine.TestCase
TestCircuit.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)


def opened(options: BreakerOptions, at: float) -> Circuit:
    """Return a circuit that opened at a time, by failures in a row."""
    circuit = Circuit(options, 0.0)
    for _ in range(options.consecutive_failures):
        failing(circuit, options, at)
    assert CircuitState.OPEN is circuit.state
    return circuit


def failing(circuit: Circuit, options: BreakerOptions, at: float) -> None:
    """Let one call through, which fails."""
    given = entered(circuit, options, at)
    assert given is not None
    circuit.fail(given, options, at, "down")


def succeeding(circuit: Circuit, options: BreakerOptions, at: float) -> None:
    """Let one call through, which succeeds."""
    given = entered(circuit, options, at)
    assert given is not None
    circuit.succeed(given, options, at)


def test_an_outage_of_seconds_is_seen_by_failures_in_a_row() -> None:
    """A busy model that goes down is found out by ten failures, whatever the window holds."""
    options = BreakerOptions()
    circuit = Circuit(options, 0.0)
    for number in range(400):
        succeeding(circuit, options, number / 50)
    for number in range(9):
        failing(circuit, options, 8 + number / 50)
    assert CircuitState.CLOSED is circuit.state
    failing(circuit, options, 8.2)
    assert (CircuitState.OPEN, (410, 10)) == (circuit.state, circuit.counts(8.2))


def test_one_answer_ends_a_row() -> None:
    """Nine failures, an answer and nine failures leave it closed."""
    options = BreakerOptions(minimum_calls=100)
    circuit = Circuit(options, 0.0)
    for _ in range(9):
        failing(circuit, options, 1.0)
    succeeding(circuit, options, 1.0)
    for _ in range(9):
        failing(circuit, options, 1.0)
    assert CircuitState.CLOSED is circuit.state


def test_failures_that_are_quicker_than_answers_are_not_a_row() -> None:
    """Twenty refusals say little while eighty calls that began with them are being answered."""
    options = BreakerOptions(minimum_calls=100)
    circuit = Circuit(options, 0.0)
    for number in range(100):
        given = entered(circuit, options, 1.0)
        assert given is not None
        if number % 5 == 0:
            circuit.fail(given, options, 1.1)
    assert CircuitState.CLOSED is circuit.state


def test_calls_that_began_before_a_row_do_not_hide_it() -> None:
    """What began before an outage may go on for long; what begins in it fails."""
    options = BreakerOptions(minimum_calls=100)
    circuit = Circuit(options, 0.0)
    for _ in range(80):
        assert entered(circuit, options, 1.0) is not None
    for _ in range(10):
        failing(circuit, options, 1.1)
    assert CircuitState.OPEN is circuit.state


def test_a_break_grows_with_the_outage() -> None:
    """Half a second between probes at first, later a quarter of the outage, and 5 s at most."""
    options = BreakerOptions()
    circuit, breaks = opened(options, 1.0), []
    while circuit.probe_at < 60.0:
        breaks.append(circuit.probe_at - circuit.since)
        failing(circuit, options, circuit.probe_at)
    assert [0.5, 0.5, 0.5, 0.5, 0.5, 0.625] == breaks[:6]
    assert (5.0, True) == (max(breaks), breaks == sorted(breaks))
    assert 22 == len(breaks)


def test_a_longer_first_break_is_the_longest_too() -> None:
    """Where the first break is longer than the longest, all are as long as the first."""
    options = BreakerOptions(break_seconds=8.0)
    circuit = opened(options, 1.0)
    failing(circuit, options, circuit.probe_at)
    assert (8.0, 17.0) == (circuit.probe_at - circuit.since, circuit.probe_at)


def test_probes_go_out_slowly() -> None:
    """One at first, another for each that succeeds and for each second, up to their number."""
    options = BreakerOptions(half_open_probes=4)
    circuit = opened(options, 1.0)
    first = entered(circuit, options, 2.0)
    assert first is not None
    assert entered(circuit, options, 2.9) is None
    assert entered(circuit, options, 3.0) is not None
    circuit.succeed(first, options, 3.0)
    assert entered(circuit, options, 3.0) is not None
    assert entered(circuit, options, 3.0) is not None
    assert entered(circuit, options, 9.0) is None


def test_one_failure_among_probes_that_succeed_does_not_open_it() -> None:
    """A model that fails now and then is back once as many probes have succeeded as are asked."""
    options = BreakerOptions(half_open_probes=3)
    circuit = opened(options, 1.0)
    succeeding(circuit, options, 2.0)
    failing(circuit, options, 2.0)
    failing(circuit, options, 2.0)
    assert CircuitState.HALF_OPEN is circuit.state
    succeeding(circuit, options, 2.0)
    succeeding(circuit, options, 2.0)
    assert (CircuitState.CLOSED, 0.0) == (circuit.state, circuit.outage(9.0))


def test_as_many_failures_as_probes_open_it_again() -> None:
    """A model that fails more often than it answers is left alone."""
    options = BreakerOptions(half_open_probes=2)
    circuit = opened(options, 1.0)
    succeeding(circuit, options, 2.0)
    failing(circuit, options, 2.0)
    failing(circuit, options, 2.0)
    assert (CircuitState.OPEN, 3.0) == (circuit.state, circuit.outage(4.0))


def test_an_open_circuit_says_when_to_come_back() -> None:
    """The wait is what is left of the break."""
    circuit = opened(OPTIONS, 1.0)
    assert entered(circuit, OPTIONS, 3) is None
    assert 3.0 == circuit.retry_after(3)
    assert 1 == circuit.rejected


def test_another_window_begins_anew() -> None:
    """When the length of the window is changed, what was counted is forgotten."""
    circuit = Circuit(OPTIONS, 0)
    given = entered(circuit, OPTIONS, 1)
    assert given is not None
    circuit.fail(given, OPTIONS, 1)
    longer = BreakerOptions(window_seconds=20)
    given = entered(circuit, longer, 2)
    assert given is not None
    circuit.succeed(given, longer, 2)
    assert (1, 0) == circuit.counts(2)


def test_what_another_window_has_counted_is_not_taken_out_of_this_one() -> None:
    """A call that went well before the change, and fails after it, is one failure and no more."""
    longer = BreakerOptions(window_seconds=20)
    circuit = Circuit(OPTIONS, 0)
    early = entered(circuit, OPTIONS, 100)
    assert early is not None
    circuit.succeed(early, OPTIONS, 100)
    for _ in range(3):
        given = entered(circuit, longer, 101)
        assert given is not None
        circuit.succeed(given, longer, 101)
    circuit.fail(early, longer, 101)
    assert (4, 1) == circuit.counts(101)


def test_fewer_probes_asked_for_meanwhile_may_be_there_already() -> None:
    """When as many as are asked for now have succeeded, it is closed by the next call."""
    many = BreakerOptions(minimum_calls=1, break_seconds=5, half_open_probes=5)
    circuit = Circuit(many, 0)
    given = entered(circuit, many, 1)
    assert given is not None
    circuit.fail(given, many, 1)
    for _ in range(3):
        given = entered(circuit, many, 10)
        assert given is not None
        circuit.succeed(given, many, 10)
    assert entered(circuit, OPTIONS, 10) is not None
    assert CircuitState.CLOSED is circuit.state


def test_once_its_break_is_over_it_lets_probes_through() -> None:
    """What it tells is what it would do, though nobody has called since."""
    circuit = opened(OPTIONS, 1.0)
    assert (CircuitState.OPEN, 1.0) == circuit.seen(5.9)
    assert (CircuitState.HALF_OPEN, 6.0) == circuit.seen(6.0)


def test_it_remembers_what_it_opened_on() -> None:
    """However long it stays open, it still says how many of how many had failed, and why."""
    circuit = opened(OPTIONS, 1.0)
    probe = entered(circuit, OPTIONS, 100.0)
    assert probe is not None
    circuit.fail(probe, OPTIONS, 100.0, "still down")
    assert ((3, 3), 2, "still down") == (circuit.counts(500.0), circuit.opened, circuit.why)


def test_every_change_of_state_is_told() -> None:
    """Open, half open, closed: once each, after it has happened."""
    told: list[CircuitState] = []
    circuit = Circuit(OPTIONS, 0.0, lambda changed: told.append(changed.state))
    for _ in range(3):
        failing(circuit, OPTIONS, 1.0)
    for _ in range(2):
        succeeding(circuit, OPTIONS, 10.0)
    assert [CircuitState.OPEN, CircuitState.HALF_OPEN, CircuitState.CLOSED] == told
