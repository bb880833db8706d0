"""What is too long for its model is refused before it is sent, or made to fit as asked.

Covers: policies/conversations/truncation.py
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from gemini.backend.v1 import content_pb2 as content
from gemini.backend.v1 import execute_service_pb2 as pb
from gemini_backend.config.sections.resilience import FallbackOptions
from gemini_backend.config.sections.tokens import TokensOptions
from gemini_backend.errors import ContextTooLong
from gemini_backend.policies.attempts.fallback import Fallback
from gemini_backend.policies.conversations.context import Context
from gemini_backend.policies.conversations.kept_answer import answers_a_call
from gemini_backend.policies.conversations.truncation import without_middles, without_oldest
from gemini_backend.policies.pipeline import Pipeline
from tests.support.layers.inproc import collect
from tests.support.messages.calls import make_call
from tests.support.messages.tokenizers import Characters, NoTokenizer, counter_of
from tests.support.upstreams.scripted_attempts import ANSWER, Attempts

if TYPE_CHECKING:
    from gemini_backend.processing.tokens.tokenizer import Tokenizer
    from tests.support.clock import FakeClock

DROP, MIDDLE = pb.TRUNCATION_DROP_OLDEST, pb.TRUNCATION_MIDDLE_OUT
MODEL = "models/gemini-2.5-flash"
CALL = content.Part(function_call=content.FunctionCall(name="f"), thought_signature=b"signed")
RESULT = content.Part(function_response=content.FunctionResponse(name="f"))


def say(*parts: Any, role: str = "user") -> content.Content:
    """Return one turn."""
    made = [content.Part(text=part) if isinstance(part, str) else part for part in parts]
    return content.Content(role=role, parts=made)


class Asked:
    """A model that takes so many tokens, a token a character, and what it was asked."""

    def __init__(
        self,
        clock: FakeClock,
        limit: int | None,
        tokenizer: Tokenizer | None = None,
        **options: Any,
    ) -> None:
        self.clock = clock
        self.requests: list[Any] = []
        self.tokenizer = tokenizer or Characters()
        self.limits: dict[str, int] = {}
        self.policy = Context(
            lambda: TokensOptions(**options),
            lambda model: None if limit is None else (self.limits.get(model, limit), 100),
            counter_of(self.tokenizer),
        )

    async def whole(self, request: pb.ExecuteRequest) -> pb.Started:
        async def answer(_call: Any, asked: Any) -> pb.ProcessResponse:
            self.requests.append(asked)
            return pb.ProcessResponse(started=pb.Started(model=asked.model))

        response = await Pipeline(self.policy).unary(answer)(make_call(self.clock), request)
        return response.started  # type: ignore[no-any-return]

    async def stream(self, request: pb.ExecuteRequest) -> pb.Started:
        attempts = Attempts(self.clock, ANSWER)

        async def answer(call: Any, asked: Any) -> Any:
            self.requests.append(asked)
            async for event in attempts.stream(call, asked):
                yield event

        events = await collect(Pipeline(self.policy).stream(answer)(make_call(self.clock), request))
        return events[0].started  # type: ignore[no-any-return]


@pytest.fixture(params=["whole", "stream"])
def way(request: pytest.FixtureRequest) -> str:
    """Return one of the two ways to answer."""
    return str(request.param)


async def test_what_is_short_is_not_counted(clock: FakeClock, way: str) -> None:
    """Bytes that fit are tokens that fit: the request goes on as it is."""
    asked = Asked(clock, 100)
    request = pb.ExecuteRequest(model=MODEL, prompt="x" * 50, truncation=DROP)
    started = await getattr(asked, way)(request)
    assert request is asked.requests[0]
    assert [] == asked.tokenizer.asked  # type: ignore[attr-defined]
    assert not started.HasField("truncation")


async def test_what_is_too_long_is_refused_unsent(clock: FakeClock, way: str) -> None:
    """The failure has the numbers, and the model is not asked."""
    asked = Asked(clock, 100)
    with pytest.raises(
        ContextTooLong, match=r"101 tokens, and gemini-2\.5-flash accepts at most 100"
    ) as said:
        await getattr(asked, way)(pb.ExecuteRequest(model=MODEL, prompt="x" * 100))
    assert {"tokens": "101", "limit": "100"} == said.value.metadata
    assert [] == asked.requests


async def test_exactly_the_limit_is_sent(clock: FakeClock, way: str) -> None:
    """More bytes than tokens may be taken: what counts is the count."""
    asked = Asked(clock, 100)
    await getattr(asked, way)(pb.ExecuteRequest(model=MODEL, prompt="x" * 99))
    assert 1 == len(asked.requests)


@pytest.mark.parametrize(("limit", "options"), [(None, {}), (10, {"check_limits": False})])
async def test_nothing_is_refused_where_nothing_is_known(
    clock: FakeClock, way: str, limit: int | None, options: Any
) -> None:
    """A model without known limits, or a check turned off, leaves it to the model API."""
    asked = Asked(clock, limit, **options)
    await getattr(asked, way)(pb.ExecuteRequest(model=MODEL, prompt="x" * 100))
    assert 1 == len(asked.requests)


async def test_an_estimate_refuses_nothing(clock: FakeClock, way: str) -> None:
    """What is too long by estimate alone is sent; what is certainly too long is not."""
    asked = Asked(clock, 100, NoTokenizer())
    await getattr(asked, way)(pb.ExecuteRequest(model=MODEL, prompt="x" * 3000))
    assert 1 == len(asked.requests)
    with pytest.raises(ContextTooLong, match="about 1035 tokens"):
        await getattr(asked, way)(pb.ExecuteRequest(model=MODEL, prompt="x" * 3100))


async def test_the_next_model_may_take_more(clock: FakeClock) -> None:
    """With the condition CONTEXT_TOO_LONG each model in line is asked what it takes."""
    asked = Asked(clock, 100)
    asked.limits["models/gemini-large"] = 1000
    fallback = Fallback(FallbackOptions, clock)
    request = pb.ExecuteRequest(model=MODEL, prompt="x" * 500)
    request.fallback.models.extend(["gemini-small", "gemini-large"])
    request.fallback.conditions.append(pb.FALLBACK_CONDITION_CONTEXT_TOO_LONG)
    attempts = Attempts(clock, ANSWER)
    run = Pipeline(fallback, asked.policy).stream(attempts.stream)
    events = await collect(run(make_call(clock), request))
    assert ["models/gemini-large"] == attempts.models
    assert ("models/gemini-large", MODEL) == (
        events[0].started.served_model,
        events[0].started.model,
    )


async def test_the_oldest_turns_go(clock: FakeClock, way: str) -> None:
    """As few as will do; `started` says how many, and the caller's own request is unchanged."""
    asked = Asked(clock, 60)
    turns = [say("q1" * 10), say("a1" * 10, role="model")] * 2 + [say("q3" * 10)]
    request = pb.ExecuteRequest(model=MODEL, contents=turns, truncation=DROP)
    before = request.SerializeToString()
    started = await getattr(asked, way)(request)
    assert turns[4:] == list(asked.requests[0].contents)
    assert (
        pb.TruncationReport(
            truncation=DROP, dropped_turns=4, original_tokens=105, remaining_tokens=21
        )
        == started.truncation
    )
    assert before == request.SerializeToString()


async def test_calls_stay_with_their_results(clock: FakeClock, way: str) -> None:
    """What stays begins neither with results nor with the model, and signatures stay."""
    last = [say("now"), say(CALL, role="model"), say(RESULT)]
    turns = [say("x" * 30), say("x" * 30, CALL, role="model"), say(RESULT), *last]
    asked = Asked(clock, 60)
    await getattr(asked, way)(pb.ExecuteRequest(model=MODEL, contents=turns, truncation=DROP))
    assert last == list(asked.requests[0].contents)


@pytest.mark.parametrize("truncation", [DROP, MIDDLE])
async def test_what_cannot_be_cut_is_refused(
    clock: FakeClock, way: str, truncation: pb.Truncation.ValueType
) -> None:
    """A last turn that is too long by itself, or texts without room, fail with the numbers."""
    asked = Asked(clock, 60)
    request = pb.ExecuteRequest(
        model=MODEL, contents=[say("old"), say("x" * 80)], truncation=truncation
    )
    with pytest.raises(ContextTooLong, match="85 tokens"):
        await getattr(asked, way)(request)
    assert [] == asked.requests


async def test_middles_are_cut_out(clock: FakeClock, way: str) -> None:
    """Long texts keep their two ends, short ones all; what was left out is marked."""
    asked = Asked(clock, 500)
    long = "a" * 1000 + "b" * 1000
    request = pb.ExecuteRequest(model=MODEL, contents=[say("short"), say(long)], truncation=MIDDLE)
    started = await getattr(asked, way)(request)
    first, cut = (turn.parts[0].text for turn in asked.requests[0].contents)
    assert "short" == first
    assert cut.startswith("a" * 200)
    assert cut.endswith("b" * 200)
    left_out = int(cut.partition("[… ")[2].partition(" ")[0])
    assert 2000 == left_out + len(cut) - len(f"\n[… {left_out} characters left out …]\n")
    assert (MIDDLE, 0, 2007) == (
        started.truncation.truncation,
        started.truncation.dropped_turns,
        started.truncation.original_tokens,
    )
    assert 450 < started.truncation.remaining_tokens <= 500


async def test_a_prompt_stays_a_prompt(clock: FakeClock, way: str) -> None:
    """The short form of one turn is cut as well, and what is signed never."""
    asked = Asked(clock, 300)
    await getattr(asked, way)(pb.ExecuteRequest(model=MODEL, prompt="x" * 1000, truncation=MIDDLE))
    assert 250 < len(asked.requests[0].prompt) <= 300
    assert not asked.requests[0].contents
    signed = content.Part(text="x" * 1000, thought_signature=b"s")
    with pytest.raises(ContextTooLong):
        await getattr(asked, way)(
            pb.ExecuteRequest(model=MODEL, contents=[say(signed)], truncation=MIDDLE)
        )


TURNS = st.lists(
    st.one_of(
        st.integers(0, 40).map(lambda size: [say("q" * size), say("a", role="model")]),
        st.integers(0, 40).map(
            lambda size: [
                say("q" * size),
                say(CALL, role="model"),
                say(RESULT),
                say("a", role="model"),
            ]
        ),
    ),
    max_size=8,
).map(lambda groups: [turn for group in groups for turn in group])


@given(TURNS, st.integers(0, 30), st.integers(1, 300))
async def test_dropping_keeps_what_belongs_together(
    turns: list[content.Content], last: int, limit: int
) -> None:
    """The rest is the end of the talk; it fits, begins with the user, and could not be longer."""
    counter = counter_of(Characters())
    request = pb.ExecuteRequest(model=MODEL, contents=[*turns, say("n" * last)])
    total = (await counter.request(request)).total
    found = await without_oldest(request, total, limit, counter)
    if found is None:
        assert last + 1 > limit
        return
    kept = len(found.contents)
    assert list(request.contents)[-kept:] == list(found.contents)
    assert "user" == found.contents[0].role
    assert not answers_a_call([found.contents[0]])
    assert (await counter.request(found)).total <= limit
    for begin in range(len(request.contents) - kept):
        turn = request.contents[begin]
        if turn.role == "user" and not answers_a_call([turn]):
            longer = pb.ExecuteRequest(model=MODEL, contents=request.contents[begin:])
            assert (await counter.request(longer)).total > limit


@given(st.lists(st.text("xyz ", max_size=400), min_size=1, max_size=6), st.integers(1, 900))
async def test_cut_texts_fit(texts: list[str], limit: int) -> None:
    """All turns stay, in their order; each text is itself or its two ends; all of it fits."""
    counter = counter_of(Characters())
    request = pb.ExecuteRequest(model=MODEL, contents=[say(text) for text in texts])
    total = (await counter.request(request)).total
    assume(total > limit)
    found = await without_middles(request, total, limit, counter)
    if found is None:
        assert limit - len(texts) < 64 * len(texts)
        return
    assert (await counter.request(found)).total <= max(limit, 0)
    for text, turn in zip(texts, found.contents, strict=True):
        cut = turn.parts[0].text
        head, mark, tail = cut.partition("\n[… ")
        assert text == cut or (mark and text.startswith(head))
        assert text == cut or text.endswith(tail.partition("…]\n")[2])


@pytest.mark.parametrize("truncation", [DROP, MIDDLE])
@pytest.mark.parametrize("size", [1, 10_000])
async def test_a_token_changes_nothing_of_what_is_sent(
    clock: FakeClock, way: str, truncation: Any, size: int
) -> None:
    """The rest of an answer is asked for with the very turns that its beginning was asked with."""
    asked = Asked(clock, 3000)
    turns = [say("x " * 900), say("y " * 900, role="model"), say("z " * 300)]
    for token in (b"", b"t" * size):
        request = pb.ExecuteRequest(
            contents=turns, model=MODEL, truncation=truncation, continuation_token=token
        )
        await getattr(asked, way)(request)
    first, again = asked.requests
    assert first.contents != turns
    assert (first.contents, b"t" * size) == (again.contents, again.continuation_token)


async def test_a_token_is_no_part_of_the_prompt(clock: FakeClock, way: str) -> None:
    """What fits without its token is sent unmeasured with it."""
    tokenizer = Characters()
    asked = Asked(clock, 100, tokenizer)
    await getattr(asked, way)(
        pb.ExecuteRequest(prompt="x", model=MODEL, continuation_token=b"t" * 1000)
    )
    assert ("x", []) == (asked.requests[0].prompt, tokenizer.asked)
