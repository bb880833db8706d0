"""What an answer costs where its usage leaves something out: it is estimated, and that is said."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gemini.backend.v1 import content_pb2 as content
from gemini.backend.v1 import execute_service_pb2 as pb
from gemini_backend.models.catalogue import load
from gemini_backend.models.listing import ModelListing
from gemini_backend.models.prices import cost_of, price_at
from gemini_backend.models.registry import Registry
from gemini_backend.policies.event_stream import EventStream
from gemini_backend.policies.outcome.pricing import Pricing
from gemini_backend.policies.outcome.pricing_gaps import AnswerFacts, filled
from tests.support.layers.alone import Alone
from tests.support.layers.inproc import collect
from tests.support.messages.any_usage import USAGES
from tests.support.messages.calls import make_call

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.support.clock import FakeClock

NOW = datetime(2026, 11, 29, tzinfo=UTC)
EXACT, ESTIMATED = content.USAGE_QUALITY_EXACT, content.USAGE_QUALITY_ESTIMATED
FLASH, PICTURES = "gemini-2.5-flash", "gemini-2.5-flash-image"
PNG = content.Part(inline_data={"mime_type": "image/png", "data": b"x"})
WAV = content.Part(inline_data={"mime_type": "audio/wav", "data": bytes(32_000)})
SAID = "x" * 300


CATALOGUE = load()
COUNTED = ("prompt_token_count", "candidates_token_count", "thoughts_token_count")


async def nobody() -> list[Any]:
    return []


class Case:
    """One answer, had in each of the ways in which it can come."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        listing = ModelListing(nobody, clock, 100)
        self.pricing = Pricing(Registry(load(), listing, NOW.timestamp))

    async def costs(
        self,
        model: str,
        usage: content.Usage | None,
        *parts: content.Part,
        asked: list[content.Part] | None = None,
    ) -> tuple[int, int, int]:
        """Return input, output and quality; a stream, a ready one and a whole answer agree."""
        request = pb.ExecuteRequest(model=f"models/{model}")
        request.contents.add(parts=asked or [content.Part(text="x" * 30)])
        events = [
            pb.ExecuteResponse(started=pb.Started(served_model=request.model)),
            *(pb.ExecuteResponse(delta=pb.Delta(parts=[part])) for part in parts),
            pb.ExecuteResponse(completed=pb.Completed(model_version=model, usage=usage)),
        ]
        whole = pb.ProcessResponse(
            started=pb.Started(served_model=request.model, model_version=model), usage=usage
        )
        whole.candidates.add().content.parts.extend(parts)

        async def stream(_call: Any, _request: Any) -> AsyncIterator[Any]:
            for event in events:
                yield type(event).FromString(event.SerializeToString())

        def ready(_call: Any, _request: Any) -> Any:
            return EventStream([type(one).FromString(one.SerializeToString()) for one in events])

        async def unary(_call: Any, _request: Any) -> Any:
            return whole

        call = make_call(self.clock)
        told = {
            (one.cost.input_nano_usd, one.cost.output_nano_usd, one.usage.quality)
            for one in (
                (await collect(Alone(self.pricing).stream(call, request, stream)))[-1].completed,
                (await collect(Alone(self.pricing).stream(call, request, ready)))[-1].completed,
                await Alone(self.pricing).unary(call, request, unary),
            )
        }
        assert 1 == len(told)
        return told.pop()


@pytest.fixture
def case(clock: FakeClock) -> Case:
    """The layer over the built-in catalogue, on a fixed day."""
    return Case(clock)


def counted(prompt: int = 1000, answer: int = 10, **fields: Any) -> content.Usage:
    return content.Usage(
        prompt_token_count=prompt,
        candidates_token_count=answer,
        total_token_count=prompt + answer,
        quality=EXACT,
        **fields,
    )


def kinds(kind: int, tokens: int) -> list[dict[str, int]]:
    return [{"modality": kind, "token_count": tokens}]


async def test_without_any_usage_the_texts_are_counted(case: Case) -> None:
    """The request and all that was said, a token for three bytes; the quality says so."""
    text = content.Part(text=SAID)
    expected = (11 * 1500, 200 * 9000, ESTIMATED)
    assert expected == await case.costs("gemini-3.5-flash", None, text, text)
    terms = content.Usage(traffic_type=content.TRAFFIC_TYPE_ON_DEMAND)
    assert expected == await case.costs("gemini-3.5-flash", terms, text, text)


async def test_without_any_usage_pictures_are_counted_too(case: Case) -> None:
    """At their own rate, as many tokens as are usual; a result of code costs no output."""
    result = content.Part(code_execution_result={"output": "x" * 3000})
    _, output, quality = await case.costs(PICTURES, None, content.Part(text=SAID), PNG, result)
    assert (100 * 2500 + 1120 * 30_000, ESTIMATED) == (output, quality)


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"prompt_token_count": 100, "total_token_count": 180}, (100, 80)),
        ({"candidates_token_count": 50, "total_token_count": 180}, (130, 50)),
        (
            {"prompt_token_count": 100, "thoughts_token_count": 20, "total_token_count": 180},
            (100, 60),
        ),
        ({"prompt_tokens_details": kinds(1, 70), "candidates_token_count": 5}, (70, 5)),
        ({"prompt_token_count": 100, "candidates_tokens_details": kinds(1, 9)}, (100, 9)),
    ],
)
async def test_what_follows_from_other_counts_is_priced(
    case: Case, fields: dict[str, Any], told: tuple[int, int]
) -> None:
    """What a total has beyond the others, or the sum of the kinds; the usage stays as it came."""
    usage = content.Usage(**fields)
    expected = (told[0] * 1500, told[1] * 9000, ESTIMATED)
    assert expected == await case.costs("gemini-3.5-flash", usage, content.Part(text=SAID))


async def test_thoughts_that_only_the_total_knows_are_priced(case: Case) -> None:
    """Where prompt and answer are counted, what the total has beyond them was thought."""
    usage = counted(prompt=100, answer=50)
    usage.total_token_count = 180
    cost = case.pricing.price("gemini-3.5-flash", usage)
    assert cost is not None
    assert 0 == cost.thoughts_nano_usd
    request = pb.ExecuteRequest(model="models/gemini-3.5-flash", prompt="x")

    async def answer(_call: Any, _request: Any) -> Any:
        started = pb.Started(served_model=request.model, model_version="gemini-3.5-flash")
        return pb.ProcessResponse(started=started, usage=usage)

    whole = await Alone(case.pricing).unary(make_call(case.clock), request, answer)
    assert (30 * 9000, ESTIMATED) == (whole.cost.thoughts_nano_usd, whole.usage.quality)
    assert not whole.usage.HasField("thoughts_token_count")


async def test_cached_tokens_are_known_by_their_kinds(case: Case) -> None:
    """Their count is left out, their kinds are not: they cost what cached tokens cost."""
    usage = counted(prompt=1000, cache_tokens_details=kinds(content.MODALITY_TEXT, 900))
    told = await case.costs("gemini-3.5-flash", usage, content.Part(text=SAID))
    assert (100 * 1500, 10 * 9000, ESTIMATED) == told


async def test_an_answer_that_a_total_leaves_no_room_for_costs_nothing(case: Case) -> None:
    """Where the total is that of the prompt, Gemini says that nothing was made."""
    usage = content.Usage(prompt_token_count=1000, total_token_count=1000, quality=ESTIMATED)
    assert (300_000, 0, ESTIMATED) == await case.costs(FLASH, usage, content.Part(text=SAID))


@pytest.mark.parametrize(
    ("details", "parts", "output", "quality"),
    [
        ([], [PNG], 1290 * 30_000, ESTIMATED),
        ([], [content.Part(text=SAID)], 1290 * 2500, EXACT),
        (kinds(content.MODALITY_TEXT, 290), [PNG], 1000 * 30_000 + 290 * 2500, ESTIMATED),
        (kinds(content.MODALITY_IMAGE, 1000), [PNG], 1000 * 30_000 + 290 * 2500, EXACT),
        (kinds(content.MODALITY_TEXT, 1290), [PNG], 1290 * 2500, EXACT),
    ],
)
async def test_pictures_without_a_kind_are_what_is_left_over(
    case: Case, details: Any, parts: list[content.Part], output: int, quality: int
) -> None:
    """What no kind is given for is the picture, where there is one that no kind names."""
    usage = counted(answer=1290, candidates_tokens_details=details)
    _, told, said = await case.costs(PICTURES, usage, *parts)
    assert (output, quality) == (told, said)


async def test_media_of_the_prompt_without_a_kind_are_estimated(case: Case) -> None:
    """Two seconds of sound are 64 of the prompt's tokens, at the rate of sound."""
    spoken = [content.Part(text="what is said?"), WAV]
    told = await case.costs(FLASH, counted(), content.Part(text=SAID), asked=spoken)
    assert (64 * 1000 + 936 * 300, 10 * 2500, ESTIMATED) == told
    named = counted(prompt_tokens_details=kinds(content.MODALITY_AUDIO, 100))
    told = await case.costs(FLASH, named, content.Part(text=SAID), asked=spoken)
    assert (100 * 1000 + 900 * 300, 10 * 2500, EXACT) == told


async def test_media_of_a_prompt_are_no_more_than_the_prompt(case: Case) -> None:
    """However long the recording seems to be."""
    told = await case.costs(FLASH, counted(prompt=50), content.Part(text=SAID), asked=[WAV])
    assert (50 * 1000, 10 * 2500, ESTIMATED) == told


async def test_where_all_kinds_cost_the_same_nothing_is_estimated(case: Case) -> None:
    """A model without rates by kind, a prompt without media: the counts are enough."""
    text = content.Part(text=SAID)
    assert EXACT == (await case.costs("gemini-3.8-flash", counted(), text, asked=[WAV]))[2]
    assert EXACT == (await case.costs("gemini-3.8-flash", counted(), PNG))[2]
    assert EXACT == (await case.costs(FLASH, counted(), text))[2]


async def test_a_model_without_a_price_says_what_is_not_known(case: Case) -> None:
    """No cost, and no exact usage either."""
    assert (0, 0, ESTIMATED) == await case.costs("nobody-knows", None, content.Part(text=SAID))


@given(USAGES, st.sampled_from([FLASH, PICTURES, "gemini-3.8-flash"]), st.sampled_from([PNG, WAV]))
def test_whatever_is_filled_in_costs_no_less_than_nothing(
    usage: content.Usage, name: str, medium: content.Part
) -> None:
    """No part of the cost is negative, and no count is lowered by what is filled in."""
    entry = CATALOGUE.find(name)
    assert entry is not None
    request = pb.ExecuteRequest(model=f"models/{name}")
    request.contents.add(parts=[medium])
    told = AnswerFacts()
    told.begun(entry)
    told.take(pb.Delta(parts=[PNG, content.Part(text=SAID)]))
    price = price_at(entry, NOW, max(0, usage.prompt_token_count), "standard")
    assert price is not None
    made = filled(usage, request, told, entry, price[0])
    cost = cost_of(entry, usage if made is None else made, NOW)
    assert cost is not None
    parts = (cost.input_nano_usd, cost.cached_input_nano_usd, cost.output_nano_usd)
    assert min(*parts, cost.thoughts_nano_usd) >= 0
    if made is not None:
        for field in COUNTED:
            assert max(0, getattr(usage, field)) <= max(0, getattr(made, field))


async def test_what_was_counted_on_the_way_is_enough(case: Case) -> None:
    """Texts are added up only until an event has counted some output."""
    deltas = [pb.Delta(parts=[content.Part(text=SAID)]) for _ in range(3)]
    deltas[1].usage.candidates_token_count = 5
    told = AnswerFacts()
    for delta in deltas:
        told.take(delta)
    assert (100, {}) == told.output()
