"""What a model cannot do is refused by field; what is gone or about to be is told of.

Covers: models/capability_check.py
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from gemini.backend.v1 import content_pb2 as content
from gemini.backend.v1 import execute_service_pb2 as pb
from gemini_backend.config.sections.models import ModelsOptions
from gemini_backend.errors import UnknownModel, UnsupportedByModel
from gemini_backend.models.capability_check import unfulfilled
from gemini_backend.models.catalogue import load
from gemini_backend.models.listing import ModelListing, UpstreamModel
from gemini_backend.models.registry import Registry
from gemini_backend.policies.checks.model_check import ModelCheck
from gemini_backend.policies.pipeline import Pipeline
from gemini_backend.telemetry.events import ModelResolved
from tests.support.layers.inproc import collect
from tests.support.layers.recorder import Recorder
from tests.support.messages import gemini_json
from tests.support.messages.calls import make_call
from tests.support.messages.recordings import Recording, parameters
from tests.support.upstreams.counting_upstream import GOOD, Upstream, answer_of

if TYPE_CHECKING:
    from tests.support.clock import FakeClock

NOW = datetime(2026, 11, 23, tzinfo=UTC)
JSON = "application/json"


class Case:
    """The layer round an upstream that lists some models."""

    def __init__(self, clock: FakeClock, *listed: str | UpstreamModel, **options: Any) -> None:
        async def fetch() -> list[UpstreamModel]:
            return [UpstreamModel(one) if isinstance(one, str) else one for one in listed]

        self.clock = clock
        self.options = ModelsOptions(**options)
        self.listing = ModelListing(fetch, clock, 100)
        self.registry = Registry(load(), self.listing, NOW.timestamp)
        self.upstream = Upstream(clock, *GOOD)
        self.heard = Recorder()
        layer = ModelCheck(lambda: self.options, self.registry, self.heard.bus)
        self.pipeline = Pipeline(layer)

    async def stream(self, **fields: Any) -> list[Any]:
        await self.listing.all()
        request = pb.ExecuteRequest(prompt="x", **fields)
        stream = self.pipeline.stream(self.upstream.stream)
        return await collect(stream(make_call(self.clock), request))


def thinking(**fields: Any) -> content.GenerationConfig:
    return content.GenerationConfig(thinking_config=content.ThinkingConfig(**fields))


def forced() -> dict[str, Any]:
    mode = content.FUNCTION_CALLING_MODE_ANY
    return {
        "tools": [{"function_declarations": [{"name": "f"}]}],
        "tool_config": {"function_calling_config": {"mode": mode}},
        "generation_config": {"response_mime_type": JSON},
    }


MINIMAL, HIGH = content.THINKING_LEVEL_MINIMAL, content.THINKING_LEVEL_HIGH
BUDGET, LEVEL = "thinking_config.thinking_budget", "thinking_config.thinking_level"
REFUSED = [
    (
        "gemini-4-argon",
        {"generation_config": thinking(thinking_level=MINIMAL)},
        LEVEL,
    ),
    (
        "gemini-2.5-pro",
        {"generation_config": thinking(thinking_level=HIGH)},
        LEVEL,
    ),
    ("gemini-2.5-pro", {"generation_config": thinking(thinking_budget=0)}, BUDGET),
    ("gemini-2.5-pro", {"generation_config": thinking(thinking_budget=50_000)}, BUDGET),
    ("gemini-3.8-flash", {"generation_config": {"presence_penalty": 1}}, "presence_penalty"),
    ("gemini-3.8-flash", forced(), "tool_config.function_calling_config.mode"),
    ("gemini-3-pro-image", {"tools": [{"code_execution": {}}]}, "tools[0].code_execution"),
    ("gemini-3-pro-image", {"cached_content": "cachedContents/x"}, "cached_content"),
    ("gemini-embedding-001", {}, "model"),
    ("gemini-4-argon", {"cached_content": "cachedContents/x"}, "cached_content"),
    ("gemini-4-argon", {"generation_config": {"candidate_count": 2}}, "candidate_count"),
    ("gemini-4-argon", {"generation_config": {"max_output_tokens": 1_048_577}}, "output_tokens"),
    ("gemini-4-neon", {"generation_config": {"max_output_tokens": 1_048_577}}, "output_tokens"),
    ("gemini-3.8-flash", {"generation_config": {"max_output_tokens": 65_537}}, "output_tokens"),
]


@pytest.mark.parametrize(("model", "fields", "field"), REFUSED)
async def test_what_the_model_cannot_do_is_refused_by_field(
    clock: FakeClock, model: str, fields: dict[str, Any], field: str
) -> None:
    """Nothing is sent; the field and the remedy are named."""
    case = Case(clock)
    with pytest.raises(UnsupportedByModel) as failed:
        await case.stream(model=f"models/{model}", **fields)
    (violation,) = failed.value.violations
    assert violation.field.endswith(field)
    assert model in violation.description
    assert 0 == case.upstream.runs
    case.options = ModelsOptions(check_capabilities=False)
    await case.stream(model=f"models/{model}", **fields)
    assert 1 == case.upstream.runs


async def test_an_answer_may_be_as_long_as_all_its_hops(clock: FakeClock) -> None:
    """And as long as the upstream lists, where that is more than the catalogue knows."""
    case = Case(clock)
    longest = {"max_output_tokens": 1_048_576}
    await case.stream(model="models/gemini-4-argon", generation_config=longest)
    listed = UpstreamModel("models/gemini-3.8-flash", output_token_limit=2_000_000)
    case = Case(clock, listed)
    await case.stream(model=listed.name, generation_config=longest)
    assert 1 == case.upstream.runs


async def test_what_nobody_knows_of_a_model_is_sent(clock: FakeClock) -> None:
    """Neither confirmed nor denied: the upstream judges, be it tools, media, levels or caches."""
    case = Case(clock)
    config = {
        "candidate_count": 2,
        "temperature": 1,
        "thinking_config": {"thinking_level": content.THINKING_LEVEL_MINIMAL},
    }
    said = content.Content(parts=[{"inline_data": {"mime_type": "audio/wav", "data": b"x"}}])
    for name in ("gemini-4-carbon", "gemini-4-hydrogen", "gemini-4-neon"):
        events = await case.stream(
            model=f"models/{name}",
            generation_config=config,
            tools=[{"code_execution": {}}],
            cached_content="cachedContents/x",
            contents=[said],
        )
        assert not events[0].started.warnings
    assert 3 == case.upstream.runs


@pytest.mark.parametrize("name", ["temperature", "top_p", "top_k"])
async def test_parameters_that_are_ignored_are_warned_of(clock: FakeClock, name: str) -> None:
    """They are sent as they are; a whole answer says so too."""
    case = Case(clock)
    config = {name: 1, "max_output_tokens": 9, "seed": 7}
    fields: dict[str, Any] = {"model": "models/gemini-4-argon", "generation_config": config}
    (warning,) = (await case.stream(**fields))[0].started.warnings
    words = f"gemini-4-argon ignores generation_config.{name}; omit it"
    assert ("PARAMETER_IGNORED", words) == (warning.code, warning.message)
    assert 1 == getattr(case.upstream.requests[0].generation_config, name)
    case.upstream = Upstream(clock, answer_of("x"))
    whole: Any = case.pipeline.unary(case.upstream.unary)
    response = await whole(make_call(clock), pb.ExecuteRequest(prompt="x", **fields))
    assert ["PARAMETER_IGNORED"] == [one.code for one in response.started.warnings]
    assert not (await case.stream(model="models/gemini-3.5-flash", generation_config=config))[
        0
    ].started.warnings


async def test_media_a_model_does_not_take_are_refused(clock: FakeClock) -> None:
    """By the part that holds them."""
    request = pb.ExecuteRequest(model="models/gemini-3-pro-image")
    request.contents.add().parts.add(inline_data={"mime_type": "audio/wav", "data": b"x"})
    entry = load().find(request.model)
    assert entry is not None
    (violation,) = unfulfilled(request, entry)
    assert "contents[0].parts[0].inline_data" == violation.field


async def test_models_that_nobody_knows_pass(clock: FakeClock) -> None:
    """What the catalogue does not have is the upstream's to judge."""
    case = Case(clock)
    await case.stream(model="models/tomorrow", generation_config={"presence_penalty": 1})
    assert 1 == case.upstream.runs


async def test_a_model_that_is_gone_is_refused_with_its_replacement(clock: FakeClock) -> None:
    """By default; the caller learns what to ask instead."""
    case = Case(clock)
    with pytest.raises(UnknownModel, match=r"gemini-2\.0-flash-exp has been shut down; use gemini"):
        await case.stream(model="models/gemini-2.0-flash-exp")
    assert 0 == case.upstream.runs


async def test_a_model_that_is_gone_may_be_replaced(clock: FakeClock) -> None:
    """The successor answers, and `started` says so; a whole answer too."""
    case = Case(clock, gone="replace")
    events = await case.stream(model="models/gemini-exp-1206")
    assert [ModelResolved("e1", "models/gemini-3.8-flash")] == case.heard.events
    assert ["models/gemini-3.8-flash"] == [one.model for one in case.upstream.requests]
    assert ["MODEL_REPLACED"] == [one.code for one in events[0].started.warnings]
    case.upstream = Upstream(clock, answer_of("x"))
    whole: Any = case.pipeline.unary(case.upstream.unary)
    request = pb.ExecuteRequest(prompt="x", model="models/gemini-exp-1206")
    response = await whole(make_call(clock), request)
    assert ["MODEL_REPLACED"] == [one.code for one in response.started.warnings]


async def test_what_upstream_still_lists_is_not_gone(clock: FakeClock) -> None:
    """The upstream's word counts for more than the catalogue's; and `send` asks it anyway."""
    model = "models/gemini-2.0-flash"
    (listed,) = (await Case(clock, model).stream(model=model))[0].started.warnings
    (sent,) = (await Case(clock, gone="send").stream(model=model))[0].started.warnings
    assert ("MODEL_DEPRECATED", "MODEL_GONE") == (listed.code, sent.code)
    assert "is still listed; gemini-3.5-flash-lite replaces it" in listed.message
    assert "was requested anyway; gemini-3.5-flash-lite replaces it" in sent.message


async def test_a_model_about_to_end_is_warned_of(clock: FakeClock) -> None:
    """With the day and what takes its place; others have no warning."""
    case = Case(clock)
    (warning,) = (await case.stream(model="models/gemini-2.5-pro"))[0].started.warnings
    assert "MODEL_DEPRECATED" == warning.code
    assert "2026-12-01; gemini-3.8-flash replaces it" in warning.message
    assert not (await case.stream(model="models/gemini-3.8-flash"))[0].started.warnings


@parameters("generateContent", "streamGenerateContent")
def test_nothing_that_gemini_took_is_refused(recording: Recording) -> None:
    """Each recorded request that was answered passes the check of its model."""
    if recording.status != 200:
        return
    entry = load().find(recording.model)
    if entry is None or not entry.capabilities:
        return
    request = gemini_json.execute_request(recording.request, recording.model)
    assert [] == unfulfilled(request, entry)
