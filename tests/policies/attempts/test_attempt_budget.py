"""One budget of attempts: by request, by all requests of a model, and for gRPC's own retries."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING, Any

import pytest
from msgspec.structs import replace

from gemini_backend.call import Attempts
from gemini_backend.config.sections.resilience import RetryOptions
from gemini_backend.errors import CircuitOpen, UpstreamUnavailable
from gemini_backend.policies.attempts.attempt_budget import (
    EXHAUSTED_SECONDS,
    MAX_ACCOUNTS,
    AttemptBudget,
    Refusal,
    is_spent,
)
from gemini_backend.principal import Principal
from tests.support.messages.calls import make_call

if TYPE_CHECKING:
    from gemini_backend.call import Call
    from tests.support.clock import FakeClock

A, B = "models/a", "models/b"


def budget_of(clock: FakeClock, **options: Any) -> AttemptBudget:
    """Return a budget that gains nothing by time."""
    built = RetryOptions(**({"budget_min_per_second": 0} | options))
    return AttemptBudget(lambda: built, clock)


def again(clock: FakeClock) -> Call:
    """Return a call that gRPC makes again by itself."""
    return replace(make_call(clock), attempts=Attempts(again=True))


def attempts_of(budget: AttemptBudget, call: Call, model: str = A) -> int:
    """Make attempts until one is refused; return how many there were."""
    for count in range(100):
        try:
            budget.take(call, model)
        except CircuitOpen as error:
            return count if error.spent else -1
    return 100


def succeed(budget: AttemptBudget, clock: FakeClock, times: int = 1, model: str = A) -> None:
    """Let requests succeed at their first attempt."""
    for _ in range(times):
        call = make_call(clock)
        budget.succeeded(call, model, paid=budget.take(call, model))


def further(budget: AttemptBudget, clock: FakeClock) -> int:
    """Let requests fail until they have one attempt each; return how many further ones they had."""
    count = 0
    while made := attempts_of(budget, make_call(clock)) - 1:
        count += made
    return count


def test_a_request_has_six_attempts(clock: FakeClock) -> None:
    """The first and five further ones by default, after which the reason is told."""
    budget, call = budget_of(clock), make_call(clock)
    assert (6, Refusal.ATTEMPTS) == (attempts_of(budget, call), budget.refusal(call, A))
    assert 0 == budget.left(call)


def test_a_reserve_lets_the_first_requests_have_all_of_theirs(clock: FakeClock) -> None:
    """Thirty further attempts, then one for each request: at 100 % failure 1.03 of a thousand."""
    budget = budget_of(clock)
    made = [attempts_of(budget, make_call(clock)) for _ in range(1000)]
    assert ([6] * 6, {1}, 1030) == (made[:6], set(made[6:]), sum(made))


def test_further_attempts_are_earned_by_answers(clock: FakeClock) -> None:
    """Three tenths of one for each request that succeeds."""
    budget = budget_of(clock)
    while attempts_of(budget, make_call(clock)) > 1:
        pass
    succeed(budget, clock, 3)
    assert 1 == attempts_of(budget, make_call(clock))
    succeed(budget, clock)
    assert 2 == attempts_of(budget, make_call(clock))
    succeed(budget, clock, 1000)
    assert 300 == further(budget, clock)


def test_what_is_not_used_is_lost(clock: FakeClock) -> None:
    """After ten seconds without answers no more is left than the reserve."""
    budget = budget_of(clock)
    succeed(budget, clock, 1000)
    clock._now += 9.0
    succeed(budget, clock, 10)
    clock._now += 2.0
    assert 33 == further(budget, clock)


def test_time_alone_earns_a_little(clock: FakeClock) -> None:
    """One further attempt in 50 s by default, so that a server with few calls retries again."""
    budget = AttemptBudget(RetryOptions, clock)
    while attempts_of(budget, make_call(clock)) > 1:
        pass
    clock._now += 49.0
    assert 1 == attempts_of(budget, make_call(clock))
    clock._now += 2.0
    assert 2 == attempts_of(budget, make_call(clock))


@pytest.mark.parametrize("share", [0.05, 0.1, 0.2])
def test_random_failures_do_not_spend_it(clock: FakeClock, share: float) -> None:
    """While up to a fifth of all attempts fails, no request in 20,000 is short of an attempt."""
    budget, random, short, made = budget_of(clock), Random(1), 0, 0
    for _ in range(20_000):
        call = make_call(clock)
        while True:
            made += 1
            paid = budget.take(call, A)
            if random.random() >= share:
                budget.succeeded(call, A, paid=paid)
                break
            refusal = budget.refusal(call, A)
            if refusal is not None:
                short += refusal is Refusal.BUDGET
                break
    assert 0 == short
    assert made / 20_000 < 1.3


@pytest.mark.parametrize("share", [0.3, 0.5, 0.8, 0.99, 1.0])
def test_whatever_fails_there_are_at_most_thirteen_attempts_for_ten_requests(
    clock: FakeClock, share: float
) -> None:
    """The ratio is kept at any share of failures, but for the reserve."""
    budget, random, made = budget_of(clock), Random(1), 0
    for _ in range(5000):
        call = make_call(clock)
        while True:
            made += 1
            paid = budget.take(call, A)
            if random.random() >= share:
                budget.succeeded(call, A, paid=paid)
                break
            if budget.refusal(call, A) is not None:
                break
    assert made <= 1.3 * 5000 + 30


def test_no_model_and_no_tenant_spends_anothers(clock: FakeClock) -> None:
    """What fails for one leaves all to the others."""
    budget = budget_of(clock)
    while attempts_of(budget, make_call(clock)) > 1:
        pass
    other = replace(make_call(clock), principal=Principal("other", "one"))
    assert 6 == attempts_of(budget, other)
    assert 6 == attempts_of(budget, make_call(clock), B)


def test_a_stand_in_that_answers_costs_nothing(clock: FakeClock) -> None:
    """With one model down, any number of requests is answered by the next one."""
    budget, answered = budget_of(clock), 0
    for _ in range(1000):
        call = make_call(clock)
        budget.take(call, A)
        if budget.refusal(call, B) is None:
            budget.succeeded(call, B, paid=budget.take(call, B))
            answered += 1
    assert 1000 == answered


def test_a_stand_in_that_fails_costs_an_attempt(clock: FakeClock) -> None:
    """With both down, the reserve of each is all there is."""
    budget, made = budget_of(clock), 0
    for _ in range(1000):
        call = make_call(clock)
        budget.take(call, A)
        if budget.refusal(call, B) is None:
            budget.take(call, B)
            made += 1
    assert 30 == made


def test_models_in_line_share_the_attempts(clock: FakeClock) -> None:
    """Each has its part of what is left, rounded up; the last one has all of it."""
    budget, call, made = budget_of(clock), make_call(clock), []
    for left in (4, 3, 2, 1):
        budget.share_out(call, left, elsewhere=left > 1)
        made.append(attempts_of(budget, call, f"models/{left}"))
    assert [2, 2, 1, 1] == made


def test_what_a_model_leaves_goes_to_the_next(clock: FakeClock) -> None:
    """A circuit that is open takes none of its share."""
    budget, call = budget_of(clock), make_call(clock)
    budget.share_out(call, 2, elsewhere=True)
    budget.share_out(call, 1, elsewhere=False)
    assert (6, False) == (attempts_of(budget, call, B), call.attempts.elsewhere)


def test_a_key_in_place_of_a_refused_one_needs_no_budget(clock: FakeClock) -> None:
    """It counts as an attempt of the request, and is not paid out of the ratio."""
    budget, call = budget_of(clock, budget_reserve=0), make_call(clock)
    budget.take(call, A)
    assert Refusal.BUDGET is budget.refusal(call, A)
    call.attempts.unpaid += 1
    assert None is budget.refusal(call, A)
    assert (False, 2, 0) == (budget.take(call, A), call.attempts.made, call.attempts.unpaid)
    assert Refusal.BUDGET is budget.refusal(call, A)


@pytest.mark.parametrize(("answered", "attempts"), [(1, 1), (0, 0)])
def test_an_attempt_after_a_named_wait_needs_no_budget_where_the_model_answers(
    clock: FakeClock, answered: int, attempts: int
) -> None:
    """A crowd that is throttled at once is served in time; a model that refuses all grants none."""
    budget, call = budget_of(clock, budget_reserve=0, budget_ratio=0), make_call(clock)
    succeed(budget, clock, answered)
    budget.take(call, A)
    budget.throttled(call, A)
    assert attempts == attempts_of(budget, call)


def test_a_retry_of_grpcs_is_a_further_attempt(clock: FakeClock) -> None:
    """Its first attempt is paid for like any other that is not the first."""
    budget = budget_of(clock, budget_reserve=2)
    assert 2 == attempts_of(budget, again(clock))
    assert 0 == attempts_of(budget, again(clock))
    assert 1 == attempts_of(budget, make_call(clock))


def test_no_retry_of_grpcs_is_made_on_top_of_attempts_that_all_failed(clock: FakeClock) -> None:
    """Until the model has answered somebody, or half a minute has passed."""
    budget = budget_of(clock)
    budget.exhausted(make_call(clock), A)
    assert 0 == attempts_of(budget, again(clock))
    assert 6 == attempts_of(budget, again(clock), B)
    succeed(budget, clock)
    assert 6 == attempts_of(budget, again(clock))
    budget.exhausted(make_call(clock), A)
    clock._now += EXHAUSTED_SECONDS - 0.1
    assert 0 == attempts_of(budget, again(clock))
    clock._now += 0.2
    assert 6 == attempts_of(budget, again(clock))


def test_where_each_request_has_one_attempt_grpc_may_retry(clock: FakeClock) -> None:
    """Who switches off the server's own further attempts leaves them to the clients."""
    budget = budget_of(clock, max_attempts=1)
    budget.exhausted(make_call(clock), A)
    assert 1 == attempts_of(budget, again(clock))


def test_only_so_many_accounts_are_kept(clock: FakeClock) -> None:
    """Beyond them the oldest begins anew."""
    budget = budget_of(clock, budget_reserve=1)
    for number in range(MAX_ACCOUNTS + 1):
        assert 2 == attempts_of(budget, make_call(clock), f"models/{number}")
    assert 1 == attempts_of(budget, make_call(clock), "models/1")
    assert 2 == attempts_of(budget, make_call(clock), "models/0")
    assert MAX_ACCOUNTS == len(budget._accounts)


def test_it_is_known_who_refused() -> None:
    """A refusal of the budget is told from one of a circuit."""
    spent = CircuitOpen("x")
    spent.spent = True
    assert [True, False, False, False] == [
        is_spent(error) for error in (spent, CircuitOpen("x"), UpstreamUnavailable("x"), None)
    ]
