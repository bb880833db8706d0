"""The call: what is handed on, and what is not, where one call is made of another."""

from __future__ import annotations

from typing import Any

import pytest

from gemini_backend.call import (
    AttemptRecord,
    Attempts,
    Call,
    FixedBudget,
    Hop,
    Outcome,
    Principal,
    Work,
)
from gemini_backend.errors import StreamCut

CARRIED = {
    "method",
    "execution",
    "arrived",
    "work",
    "budget",
    "principal",
    "metadata",
    "request_id",
    "peer",
    "large",
}
NOT_CARRIED = {
    "bound_to": "the key that began one long answer is no matter of another answer",
    "attempts": "other work makes attempts of its own, a retry of gRPC's though it stays",
    "outcome": "what was learned is of the call that learned it",
}
ADOPTED = {"trailers", "attempts", "hops", "queued_seconds", "quota_seconds", "quota_reason"}
NOT_ADOPTED = {
    "first_token": "each reader has its own",
    "model": "each reader named it itself",
    "served_model": "told by the answer's own events",
    "usage": "told by the answer's own events",
    "error": "each reader has an error of its own",
    "pays": "decided among the readers",
    "cost_nano_usd": "priced for each reader",
    "cut_short": "the server ends calls, not runs",
    "sequence": "each reader has been handed its own events",
    "keeper": "the flight tells each reader who keeps its bytes",
    "given": "a kept answer is given outside of shared runs",
    "sketch": "each reader has a request of its own",
    "cache_status": "told by the answer's own events",
    "end": "each reader has an end of its own",
    "told": "each reader is told times of its own",
    "spent": "the run's cost is counted once",
    "shared": "the run that is adopted shares none",
    "awaited": "a repetition waits for the session's turn, not for the run that it shares",
}


def whole_call() -> Call:
    """Return a call with a value of its own in every field."""
    return Call(
        method="/m",
        execution="executions/e",
        arrived=3.0,
        work=Work.ITEM,
        budget=FixedBudget(9.0),
        principal=Principal("t", "n"),
        metadata={"a": "b"},
        request_id="r",
        peer="ipv4:127.0.0.1:1",
        bound_to="key",
        large=70_000,
        outcome=whole_outcome(),
        attempts=Attempts(made=2, model="models/a", again=True),
    )


def whole_outcome() -> Outcome:
    """Return an outcome with a value of its own in every field."""
    hop: Any = Hop("v", None, "standard", None)  # type: ignore[arg-type]
    return Outcome(
        trailers={"x": "y"},
        attempts=[AttemptRecord("models/a", 1.0)],
        queued_seconds=2.0,
        first_token=4.0,
        model="models/a",
        served_model="a-001",
        usage=object(),  # type: ignore[arg-type]
        error=StreamCut("x"),
        pays=False,
        cost_nano_usd=7,
        cut_short=StreamCut("y"),
        hops=[hop],
        awaited=lambda: True,
        sequence=5,
        cache_status=2,
        end=object(),  # type: ignore[arg-type]
        spent=object(),  # type: ignore[arg-type]
        shared=Outcome(),
        quota_seconds=6.0,
        quota_reason="z",
        told=b"t",
    )


def test_each_field_is_carried_or_named_as_not_carried() -> None:
    """What `derive` does with a field is said of every field."""
    assert set(Call.__struct_fields__) == CARRIED | NOT_CARRIED.keys()
    call, fresh = whole_call(), Call("", "", 0.0)
    derived = call.derive()
    for name in CARRIED:
        assert getattr(call, name) is getattr(derived, name), name
        assert getattr(call, name) != getattr(fresh, name), name
    assert ("", Outcome(model="models/a")) == (derived.bound_to, derived.outcome)


def test_derived_work_may_differ_in_what_is_said() -> None:
    """Name, kind of work, budget and request id are what a derived call may have of its own."""
    budget = FixedBudget(1.0)
    derived = whole_call().derive(
        execution="executions/e.1", work=Work.SUMMARY, budget=budget, request_id="q"
    )
    assert ("executions/e.1", Work.SUMMARY, budget, "q") == (
        derived.execution,
        derived.work,
        derived.budget,
        derived.request_id,
    )


def test_a_narrowed_call_is_the_same_call() -> None:
    """It differs in nothing but what was narrowed, and shares the outcome."""
    call = whole_call()
    narrowed = call.narrowed(budget=FixedBudget(1.0), bound_to="other")
    assert (1.0, "other") == (narrowed.deadline, narrowed.bound_to)
    for name in Call.__struct_fields__:
        if name not in {"budget", "bound_to"}:
            assert getattr(call, name) is getattr(narrowed, name), name
    assert call == call.narrowed()


def test_each_field_of_an_outcome_is_adopted_or_named_as_not_adopted() -> None:
    """A reader of a shared run takes over what the run has learned, and nothing of its own."""
    assert set(Outcome.__struct_fields__) == ADOPTED | NOT_ADOPTED.keys()
    shared, reader = whole_outcome(), Outcome()
    reader.adopt(shared)
    untouched = Outcome()
    for name in ADOPTED:
        assert getattr(shared, name) == getattr(reader, name) != getattr(untouched, name), name
    for name in NOT_ADOPTED:
        assert getattr(untouched, name) == getattr(reader, name), name


def test_a_call_never_changes() -> None:
    """What is known of a call when it begins cannot be written."""
    call: Any = whole_call()
    for name in Call.__struct_fields__:
        with pytest.raises(AttributeError):
            setattr(call, name, None)
