"""Models through the server: found, judged, refused, replaced, paid for by the one that served."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import aiohttp
import grpc
import pytest
from google.rpc.error_details_pb2 import BadRequest

from gemini.backend.v1 import execute_service_pb2 as pb
from gemini.backend.v1 import execute_service_pb2_grpc as execute_rpc
from gemini.backend.v1 import metrics_service_pb2 as metrics
from gemini.backend.v1 import model_service_pb2 as models
from gemini.backend.v1.content_pb2 import (
    THINKING_LEVEL_MINIMAL,
    Content,
    GenerationConfig,
    ThinkingConfig,
)
from gemini.backend.v1.error_details_pb2 import ErrorReason
from tests.support.layers.inproc import collect
from tests.support.messages.failures import failure_of
from tests.support.servers.conversations import answering
from tests.support.servers.listed_models import FLASH, GONE, LITE, house, listed
from tests.support.servers.process import run_backend, serving, upstream_at
from tests.support.upstreams.raw_upstreams import until

if TYPE_CHECKING:
    from pathlib import Path


NEW = "gemini-9-nobody-knows"
USAGE = {
    "promptTokenCount": 10_000,
    "cachedContentTokenCount": 8_000,
    "candidatesTokenCount": 100,
    "thoughtsTokenCount": 50,
    "totalTokenCount": 10_150,
}


async def test_new_models_appear_and_vanished_ones_are_marked() -> None:
    """Read again in the background, whether anybody asks or not; the log tells of both."""
    refresh = {"UPSTREAM__GEMINI__MODELS_REFRESH_SECONDS": "1"}
    async with house(FLASH, NEW, **refresh) as one:
        new = await one.get(NEW)
        assert models.MODEL_SOURCE_UPSTREAM == new.source
        assert [models.MODEL_CAPABILITY_GENERATE_CONTENT] == new.capabilities[:1]
        assert not new.prices
        one.api.models[:] = [listed("gemini-10-newer"), listed(LITE, inputTokenLimit=5)]
        await until(one.names, lambda names: "gemini-10-newer" in names)
        flash, gone, lite = await one.get(FLASH), await one.get(NEW), await one.get(LITE)
        assert models.MODEL_AVAILABILITY_UNAVAILABLE == flash.availability
        assert models.MODEL_LIFECYCLE_STABLE == flash.lifecycle
        assert models.MODEL_LIFECYCLE_GONE == gone.lifecycle
        assert NEW not in await one.names()
        assert NEW in await one.names(include_gone=True)
        assert 5 == lite.input_token_limit
        await one.server.stop()  # what is in the log by then has been written
        log = one.server.log()
    assert "the upstream lists a new model" in log
    assert "the upstream no longer lists a model" in log


async def test_filters_and_pages() -> None:
    """Pages of a filtered list add up to it; what is gone or ends is listed on request only."""
    async with house(FLASH, "gemini-embedding-2") as one:
        embedding = [models.MODEL_CAPABILITY_EMBED_CONTENT]
        assert ["gemini-embedding-2"] == await one.names(capabilities=embedding)
        request = models.ListModelsRequest(include_gone=True, include_deprecated=True, page_size=7)
        seen, pages = [], 0
        while not pages or request.page_token:
            page = await one.models.ListModels(request)
            seen += [model.name[7:] for model in page.models]
            request.page_token, pages = page.next_page_token, pages + 1
        whole = await one.names(include_gone=True, include_deprecated=True)
        assert (whole, len(whole)) == (seen, page.total_size)
        assert pages == -(-len(whole) // 7)
        assert {GONE, "gemini-exp-1206"} <= set(whole) - set(await one.names())
        request = models.ListModelsRequest(page_token="made up")
        assert "CALLER_INVALID_REQUEST" == (await failure_of(one.models.ListModels(request))).reason


async def test_models_are_found_by_alias_and_near_names_are_told() -> None:
    """An alias leads to its model; a name that is nearly right to what was meant."""
    async with house(FLASH) as one:
        assert f"models/{FLASH}" == (await one.get("gemini-flash-latest")).name
        failed = await failure_of(one.get("gemini-3.8-flsh"))
        assert "CALLER_UNKNOWN_MODEL" == failed.reason
        assert f"did you mean {FLASH}?" in failed.message
        verdict = await one.validate("gemini-3.8-flsh")
        assert (False, False) == (verdict.valid, verdict.HasField("model"))
        assert models.MODEL_CRITERION_EXISTENCE == verdict.problems[0].criterion


async def test_a_verdict_names_all_that_speaks_against_a_model() -> None:
    """Gone, deprecated, unable, too long; each with what helps, and without a call upstream."""
    async with house(FLASH, "gemini-2.5-pro", NEW) as one:
        gone = await one.validate(GONE)
        assert (False, f"models/{LITE}") == (gone.valid, gone.replacement)
        old = await one.validate("gemini-2.5-pro")
        assert (True, f"models/{FLASH}") == (old.valid, old.replacement)
        assert [(models.MODEL_CRITERION_LIFECYCLE, False)] == [
            (problem.criterion, problem.blocking) for problem in old.problems
        ]
        unable = await one.validate(FLASH, capabilities=[models.MODEL_CAPABILITY_PENALTIES])
        assert models.MODEL_CAPABILITY_PENALTIES == unable.problems[0].capability
        long = await one.validate(FLASH, input_tokens=2_000_000)
        assert (
            "a prompt may have at most 1,048,576 tokens, not 2,000,000" == long.problems[0].message
        )
        assert (False, False) == (unable.valid, long.valid)
        assert (await one.validate(FLASH, input_tokens=1000)).valid
        new = await one.validate(NEW, capabilities=[models.MODEL_CAPABILITY_FUNCTION_CALLING])
        assert new.valid
        assert "its capabilities beyond the upstream's list are unknown" == new.problems[-1].message
        assert [] == one.api.asked


async def test_recommendations_keep_to_what_is_listed_and_to_the_budget() -> None:
    """Ranked with reasons; what upstream does not list comes later; nothing above the budget."""
    async with house(FLASH, LITE) as one:
        case = models.USE_CASE_CODING
        ranked = await one.models.RecommendModel(models.RecommendModelRequest(use_case=case))
        assert f"models/{FLASH}" == ranked.recommendations[0].model.name
        argon = [one for one in ranked.recommendations if "argon" in one.model.name]
        assert "the upstream does not list it" in str(argon)
        for budget in (0, 2_000_000, 10_000_000):
            request = models.RecommendModelRequest(
                use_case=case, max_cost_nano_usd=budget, max_results=50
            )
            answer = await one.models.RecommendModel(request)
            costs = [found.estimated_cost_nano_usd for found in answer.recommendations]
            assert all(cost <= budget for cost in costs)
            assert bool(costs) == (budget > 0)
        assert [] == one.api.asked


async def test_what_a_model_cannot_do_is_refused_by_field_and_costs_nothing() -> None:
    """INVALID_ARGUMENT with every field; upstream is not asked; streams and whole answers."""
    minimal = ThinkingConfig(thinking_level=THINKING_LEVEL_MINIMAL)
    config = GenerationConfig(presence_penalty=0.5, thinking_config=minimal)
    old = "gemini-3.7-flash"
    async with house(old) as one:
        for whole in (False, True):
            failed = await failure_of(one.ask(old, whole=whole, generation_config=config))
            assert grpc.StatusCode.INVALID_ARGUMENT == failed.code
            assert "CALLER_UNSUPPORTED_BY_MODEL" == failed.reason
            fields = [one.field for one in failed.detail(BadRequest).field_violations]
            assert [
                "generation_config.presence_penalty",
                "generation_config.thinking_config.thinking_level",
            ] == fields
        assert [] == one.api.asked


@pytest.mark.parametrize("whole", [False, True])
async def test_a_model_that_is_gone_is_refused_replaced_or_sent(whole: bool) -> None:
    """As configured, also while the server runs on other settings for other models."""
    async with house(FLASH) as one:
        failed = await failure_of(one.ask(GONE, whole=whole))
        assert (grpc.StatusCode.NOT_FOUND, "CALLER_UNKNOWN_MODEL") == (failed.code, failed.reason)
        assert f"use {LITE}" in failed.message
        assert [] == one.api.asked
    for setting, code, path in (
        ("replace", "MODEL_REPLACED", LITE),
        ("send", "MODEL_GONE", GONE),
    ):
        async with house(FLASH, MODELS__GONE=setting) as one:
            started = (await one.ask(GONE, whole=whole))[0].started
            assert [code] == [warning.code for warning in started.warnings]
            assert f"models/{path}" == one.api.paths[-1].partition(":")[0]


ENDED = """
[[models]]
name = "old"
shutdown = "2026-01-01"
replacement = "new"
[[models]]
name = "new"
"""


async def test_what_is_still_listed_is_served_from_the_first_call_on(tmp_path: Path) -> None:
    """A server that is ready has seen the list: what has ended and is listed is never refused."""
    (tmp_path / "own.toml").write_text(ENDED, encoding="utf-8")
    env = {"GEMINI_BACKEND_MODELS__CATALOGUE_FILE": str(tmp_path / "own.toml")}
    async with answering() as api:
        api.models, api.listing_seconds = [listed("old")], 0.3
        async with (
            serving(upstream_at(api.url, **env)) as server,
            grpc.aio.insecure_channel(server.grpc) as channel,
        ):
            request = pb.ProcessRequest(prompt="x", model="old")
            answer = await execute_rpc.ExecuteServiceStub(channel).Process(request)
    assert ["MODEL_DEPRECATED"] == [one.code for one in answer.started.warnings]


ENDING = f"""
[[models]]
name = "gemini-3.5-flash"
inherit = true
shutdown = "2999-12-31"
replacement = "{LITE}"
"""


async def test_a_model_about_to_end_is_warned_of(tmp_path: Path) -> None:
    """`started` has the day and what takes its place; one that is here to stay has no warning."""
    (tmp_path / "own.toml").write_text(ENDING, encoding="utf-8")
    own = str(tmp_path / "own.toml")
    async with house(FLASH, "gemini-3.5-flash", MODELS__CATALOGUE_FILE=own) as one:
        for whole in (False, True):
            first = (await one.ask("gemini-3.5-flash", whole=whole))[0]
            (warning,) = first.started.warnings
            assert "MODEL_DEPRECATED" == warning.code
            assert f"2999-12-31; {LITE} replaces it" in warning.message
            assert not (await one.ask(FLASH, whole=whole))[0].started.warnings


@pytest.mark.parametrize("whole", [False, True])
async def test_the_model_that_served_is_paid_cached_tokens_once(whole: bool) -> None:
    """`modelVersion` decides, not the model asked for; metrics add it up by that model."""
    async with house(FLASH, LITE) as one:
        one.api.version, one.api.usage = f"{LITE}-001", USAGE
        last = (await one.ask(FLASH, whole=whole))[-1]
        cost = last.cost if whole else last.completed.cost
        assert f"models/{LITE}" == cost.priced_model
        assert (2_000 * 300, 8_000 * 30, 100 * 2500, 50 * 2500) == (
            cost.input_nano_usd,
            cost.cached_input_nano_usd,
            cost.output_nano_usd,
            cost.thoughts_nano_usd,
        )
        assert 600_000 + 240_000 + 250_000 + 125_000 == cost.cost_nano_usd
        sample = await one.metrics.GetMonitoringMetrics(metrics.GetMonitoringMetricsRequest())
        assert cost.cost_nano_usd == sample.metrics.cost_nano_usd
        async with aiohttp.ClientSession() as web, web.get(f"{one.server.web}/metrics") as answer:
            text = await answer.text()
        assert f'gemini_backend_cost_usd_total{{model="{LITE}"}} 0.001215' in text
        one.api.version = "nobody-knows-this"
        last = (await one.ask(FLASH, whole=whole, labels={"n": "2"}))[-1]
        assert not (last if whole else last.completed).HasField("cost")


async def test_a_stand_in_that_cannot_do_it_is_passed_over_without_a_call() -> None:
    """Gone, or unable; the attempts say so, and the third one answers."""
    audio = Content(role="user", parts=[{"inline_data": {"mime_type": "audio/wav", "data": b"x"}}])
    fast = {"RETRY__ENABLED": "false"}
    async with house(FLASH, LITE, "gemini-3-pro-image", **fast) as one:
        one.api.down.add(f"models/{FLASH}")
        line = pb.Fallback(models=[GONE, "gemini-3-pro-image", LITE])
        request = pb.ExecuteRequest(contents=[audio], model=FLASH, fallback=line)
        events = await collect(one.execute.Execute(request))
        asked = [path.partition(":")[0] for path in one.api.paths]
        attempts = events[-1].completed.attempts
    assert [f"models/{FLASH}", f"models/{LITE}"] == asked
    assert [FLASH, GONE, "gemini-3-pro-image", LITE] == [one.model[7:] for one in attempts]
    assert ["UPSTREAM_UNAVAILABLE", "CALLER_UNKNOWN_MODEL", "CALLER_UNSUPPORTED_BY_MODEL"] == [
        reason_of(one) for one in attempts[:3]
    ]


def reason_of(attempt: Any) -> str:
    """Return why an attempt failed."""
    return ErrorReason.Name(attempt.reason).removeprefix("ERROR_REASON_")


OVERLAP = """
    [[models]]
    name = "house"
    [[models.prices]]
    input = 1
    until = "2026-12-02"
    [[models.prices]]
    input = 2
    from = "2026-12-01"
"""
FLIES = '[[models]]\nname = "house"\ncapabilities = ["fly"]'


@pytest.mark.parametrize(
    ("text", "fix"),
    [
        (OVERLAP, "house: two prices of the tier standard above 0 tokens overlap; "),
        (FLIES, "Invalid enum value 'fly'"),
    ],
)
async def test_a_bad_catalogue_stops_the_start(tmp_path: Path, text: str, fix: str) -> None:
    """In one sentence that names the setting, the model and the fix; the doctor says it too."""
    file = tmp_path / "models.toml"
    file.write_text(text)
    env = {"GEMINI_BACKEND_MODELS__CATALOGUE_FILE": str(file)}
    started = await run_backend("serve", "--listen", "127.0.0.1:0", env=env)
    doctor = await run_backend("doctor", env=env)
    assert (2, 1) == (started.code, doctor.code)
    assert f"models.catalogue_file: {'house' if 'prices' in text else file}" in started.stderr
    assert fix in started.stderr
    assert fix in doctor.stderr
    assert "Traceback" not in started.stderr + doctor.stderr
