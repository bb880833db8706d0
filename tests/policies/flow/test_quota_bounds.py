"""Upstream's quota, at its edges: who may ask, what is forgotten, whole answers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from gemini.backend.v1 import content_pb2 as content
from gemini.backend.v1 import execute_service_pb2 as pb
from gemini_backend.config.sections.flow import QuotaOptions
from gemini_backend.errors import Throttled
from gemini_backend.policies.flow import quota as quota_module
from gemini_backend.policies.flow.quota import Quota
from tests.policies.flow.test_quota import TPM, UNTIL_RESET, left, quota_of, run, spent
from tests.support.layers.alone import Alone
from tests.support.messages.calls import completed, make_call, started
from tests.support.upstreams.scripted_attempts import ANSWER, REQUEST, Attempts, finish

if TYPE_CHECKING:
    from tests.support.clock import FakeClock


async def test_others_may_ask_how_long_a_quota_is_closed(clock: FakeClock) -> None:
    """As long as upstream said, for that model only, and for nobody while the policy is off."""
    options = [QuotaOptions()]
    quota = Quota(lambda: options[-1], clock, lambda: UNTIL_RESET)
    with pytest.raises(Throttled):
        await run(clock, quota, Attempts(clock, (spent(("PerMinute", "5"), retry_after=20),)))
    assert pytest.approx(20, abs=1e-3) == quota.wait("", "models/a")
    assert 0.0 == quota.wait("", "models/other")
    assert 0.0 == quota.wait("other", "models/a")
    options.append(QuotaOptions(enabled=False))
    assert 0.0 == quota.wait("", "models/a")


async def test_a_prompt_that_was_counted_as_nothing_gives_its_estimate_back(
    clock: FakeClock,
) -> None:
    """What is counted takes the place of what was estimated, down to nothing."""
    quota = quota_of(clock, tokens_per_minute=1000)
    await run(clock, quota, Attempts(clock, (started(), completed())))
    before = left(quota, TPM)
    nothing = pb.ExecuteResponse(completed=pb.Completed(usage=content.Usage(total_token_count=9)))
    await run(clock, quota, Attempts(clock, (started(), nothing)))
    assert before == left(quota, TPM)


async def test_who_is_dropped_beyond_the_bound_is_the_model_not_used_for_longest(
    clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A model in use keeps what is known of it."""
    monkeypatch.setattr(quota_module, "MAX_MODELS", 2)
    quota, upstream = quota_of(clock, requests_per_minute=9), Attempts(clock, ANSWER)
    for name in "abac":
        await run(clock, quota, upstream, pb.ExecuteRequest(model=f"models/{name}"))
    assert {"models/a", "models/c"} == {state.model for state in quota.states()}


async def test_whole_answers_teach_a_quota_as_well(clock: FakeClock) -> None:
    """What a failed Process says of the quota is learnt as from Execute."""
    quota = quota_of(clock)
    bad = Attempts(clock, (spent(("PerMinute", "5"), retry_after=20),))
    with pytest.raises(Throttled):
        await finish(clock, Alone(quota).unary(make_call(clock), REQUEST, bad.unary))
    assert pytest.approx(20, abs=1e-3) == quota.wait("", "models/a")
