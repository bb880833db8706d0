"""Long decode of Gemini 4: answers in hops, and the tokens that they go on with."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.upstream.simulator.talker import Answer, Build, Json, Start, Talker

ARGON = "gemini-4-argon"
LONG = "[[length: 100]] Tell me about hops"
PIECES = 40


def last_of(answer: Answer) -> Json:
    """Return the candidate that ends an answer."""
    payload = answer.events[-1] if answer.events else answer.json
    found: Json = payload["candidates"][0]
    return found


async def followed(
    gemini: Talker, request: Json, method: str = "generateContent", most: int = 20
) -> list[Answer]:
    """Return every hop of an answer."""
    hops: list[Answer] = []
    body = dict(request)
    while len(hops) < most:
        hops.append(await gemini.call(method, body, ARGON))
        if hops[-1].status != 200 or "continuationToken" not in last_of(hops[-1]):
            break
        body["continuationToken"] = last_of(hops[-1])["continuationToken"]
    return hops


@pytest.fixture
async def hopping(start: Start) -> Talker:
    """A simulator whose hops hold 40 tokens."""
    return await start(hop_tokens=PIECES)


@pytest.mark.parametrize("method", ["generateContent", "streamGenerateContent"])
@pytest.mark.parametrize("text", [LONG, "Tell me about rivers"])
async def test_hops_are_one_answer(hopping: Talker, start: Start, method: str, text: str) -> None:
    """Put together, their texts are what one request would have given, with or without limits."""
    at_once = await start()
    request: Json = {"contents": [{"parts": [{"text": text}]}]}
    whole = await at_once.call(method, request, ARGON)
    hops = await followed(hopping, request, method)
    assert whole.text == "".join(hop.text for hop in hops)
    reasons = [last_of(hop)["finishReason"] for hop in hops]
    assert ["CONTINUATION"] * (len(hops) - 1) + ["STOP"] == reasons
    assert len(hops) > 1


async def test_a_hop_holds_thoughts_and_text(hopping: Talker, ask: Build) -> None:
    """Thoughts come with the first hop, maybe alone; what was written is prompt to the next one."""
    hops = await followed(hopping, ask(LONG))
    usages = [hop.json["usageMetadata"] for hop in hops]
    assert "" == hops[0].text
    assert usages[0]["thoughtsTokenCount"] > PIECES
    assert [0, 40, 40, 20] == [usage.get("candidatesTokenCount", 0) for usage in usages]
    assert [False, True, True, True] == ["thoughtsTokenCount" not in usage for usage in usages]
    prompt = usages[0]["promptTokenCount"]
    assert [0, 0, 40, 80] == [usage["promptTokenCount"] - prompt for usage in usages]


async def test_the_limit_of_tokens_ends_a_hop(hopping: Talker, ask: Build) -> None:
    """Below the size of a hop it is MAX_TOKENS; at it the answer can be continued."""
    request = ask(LONG, maxOutputTokens=10, thinkingConfig={"thinkingLevel": "LOW"})
    answer = await hopping.generate(request, ARGON)
    assert "MAX_TOKENS" == last_of(answer)["finishReason"]
    request["generationConfig"]["maxOutputTokens"] = PIECES
    answer = await hopping.generate(request, ARGON)
    assert "CONTINUATION" == last_of(answer)["finishReason"]


async def test_a_token_is_good_whatever_the_limit_of_tokens(hopping: Talker, ask: Build) -> None:
    """The rest of the request must be the same, but not `maxOutputTokens`."""
    request = ask(LONG, maxOutputTokens=1000)
    token = last_of(await hopping.generate(request, ARGON))["continuationToken"]
    for most in (1000, 30):
        request["generationConfig"]["maxOutputTokens"] = most
        again = await hopping.generate({**request, "continuationToken": token}, ARGON)
        assert (200, min(most, PIECES)) == (
            again.status,
            again.json["usageMetadata"]["candidatesTokenCount"],
        )


@pytest.mark.parametrize("case", ["made_up", "changed", "other_prompt", "other_model"])
async def test_strange_tokens_are_refused(hopping: Talker, ask: Build, case: str) -> None:
    """A token that was not given, or was given for something else, is 400 INVALID_ARGUMENT."""
    request = ask(LONG)
    token = last_of(await hopping.generate(request, ARGON))["continuationToken"]
    raw = bytearray(base64.b64decode(token))
    model = "gemini-3.5-flash" if case == "other_model" else ARGON
    if case == "made_up":
        token = base64.b64encode(b"made up").decode()
    elif case == "changed":
        raw[-1] ^= 1
        token = base64.b64encode(raw).decode()
    elif case == "other_prompt":
        request = ask(LONG + "!")
    answer = await hopping.generate({**request, "continuationToken": token}, model)
    assert (400, "INVALID_ARGUMENT") == (answer.status, answer.json["error"]["status"])


async def test_either_alphabet_will_do(hopping: Talker, ask: Build) -> None:
    """A token may come back in the URL-safe alphabet, unpadded."""
    request = ask(LONG)
    token = last_of(await hopping.generate(request, ARGON))["continuationToken"]
    safe = base64.urlsafe_b64encode(base64.b64decode(token)).decode().rstrip("=")
    answers = [
        await hopping.generate({**request, name: given}, ARGON)
        for name, given in (("continuationToken", token), ("continuation_token", safe))
    ]
    assert answers[0].text == answers[1].text != ""


async def test_older_models_give_all_at_once(hopping: Talker) -> None:
    """Before Gemini 4 an answer has no hops."""
    answer = await hopping.generate(LONG, "gemini-3.5-flash")
    assert ("STOP", 100) == (
        last_of(answer)["finishReason"],
        answer.json["usageMetadata"]["candidatesTokenCount"],
    )


async def test_each_candidate_has_a_token(hopping: Talker, ask: Build) -> None:
    """Several candidates are broken off each by itself."""
    answer = await hopping.generate(ask(LONG, candidateCount=2), "gemini-4-neon")
    ends = [one["finishReason"] for one in answer.json["candidates"]]
    assert ["CONTINUATION"] * 2 == ends
    assert all(one["continuationToken"] for one in answer.json["candidates"])


ON, OFF, END, MORE = "goes on", "no token", "whole", "whole, with a token"


def told(hop: Answer) -> tuple[int, str]:
    """Return how many tokens of text a hop held, and how it ended."""
    end = last_of(hop)
    token = "continuationToken" in end
    how = {"CONTINUATION": (OFF, ON), "STOP": (END, MORE)}[end["finishReason"]][token]
    return hop.json["usageMetadata"].get("candidatesTokenCount", 0), how


@pytest.mark.parametrize(
    ("fault", "seen"),
    [
        ("hop tokens=25", [(0, ON), *[(25, ON)] * 3, (25, END)]),
        ("hop_no_token", [(0, OFF)]),
        ("hop_no_token hop=2", [(0, ON), (40, OFF)]),
        ("hop_empty hop=2", [(0, ON), (0, ON), (40, ON), (40, ON), (20, END)]),
        ("hop_after_stop", [(0, ON), (40, ON), (40, ON), (20, MORE)]),
        ("hop_endless", [(0, ON), *[(40, ON)] * 5]),
    ],
)
async def test_faults_of_hops(
    hopping: Talker, ask: Build, fault: str, seen: list[tuple[int, str]]
) -> None:
    """Each of them by name, in a prompt, for all hops or one of them."""
    hops = await followed(hopping, ask(f"{LONG} [[fault: {fault}]]"), most=len(seen))
    assert seen == [told(hop) for hop in hops]


async def test_the_same_token_again(hopping: Talker, ask: Build) -> None:
    """A hop may be made to give back the token that it was asked with."""
    hops = await followed(hopping, ask(f"{LONG} [[fault: hop_same_token hop=2]]"), most=2)
    tokens = {last_of(hop)["continuationToken"] for hop in hops}
    assert (2, 1) == (len(hops), len(tokens))


async def test_a_token_of_any_size(hopping: Talker, ask: Build) -> None:
    """A huge token is as good as a small one."""
    hops = await followed(hopping, ask(f"{LONG} [[fault: hop_huge_token bytes=100000]]"))
    tokens = [base64.b64decode(last_of(hop)["continuationToken"]) for hop in hops[:-1]]
    assert [100_000] * 3 == [len(token) for token in tokens]


@pytest.mark.parametrize(("fault", "statuses"), [("overloaded", [200, 503]), ("html", [200, 502])])
async def test_any_fault_may_strike_one_hop(
    hopping: Talker, ask: Build, fault: str, statuses: list[int]
) -> None:
    """With `hop=2` a fault of any kind is the second hop's."""
    hops = await followed(hopping, ask(f"{LONG} [[fault: {fault} hop=2]]"))
    assert statuses == [hop.status for hop in hops]
