"""A request that is too long, made to fit: by leaving out its oldest turns, or texts' middles."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gemini.backend.v1 import content_pb2 as content
from gemini.backend.v1 import execute_service_pb2 as pb
from gemini_backend.policies.conversations.drop_oldest import oldest_to_go
from gemini_backend.policies.conversations.kept_answer import answers_a_call

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gemini_backend.processing.tokens.counting import TokenCounter

# What stands for the middle of a text, and about how many tokens that has at the most.
_CUT = "\n[… {count} characters left out …]\n"
_CUT_TOKENS = 24
# A text is not cut to fewer tokens than this.
_KEPT_TOKENS = 64
# How often a cut is made shorter, until it has as few tokens as it should.
_ROUNDS = 8
_SHORTER = 0.97


async def without_oldest(
    request: pb.ExecuteRequest, total: int, limit: int, counter: TokenCounter
) -> pb.ExecuteRequest | None:
    """Return the request with as few of its oldest turns left out as will do; None for too long.

    What stays begins with something that the user says, never with the results of function calls.
    The last such turn, and all that follows it, always stays, signatures and all.

    Args:
        request: What is asked; it is not changed.
        total: Its tokens.
        limit: How many it may have.
        counter: Counts turns.
    """
    turns = request.contents
    beginnings = {i for i, turn in enumerate(turns) if _may_begin(turn)}
    last = max(beginnings, default=0)
    generation = counter.generation(request.model)
    sizes = [await counter.contents([turn], generation) for turn in turns[:last]]
    room = limit - (total - sum(sizes))
    if room < 0:
        return None
    going = oldest_to_go(sizes, room, lambda place: place in beginnings)
    shorter = pb.ExecuteRequest()
    shorter.CopyFrom(request)
    del shorter.contents[:going]
    return shorter


async def without_middles(
    request: pb.ExecuteRequest, total: int, limit: int, counter: TokenCounter
) -> pb.ExecuteRequest | None:
    """Return the request with the middle cut out of its longest texts; None for still too long.

    All texts that are cut are left with as many tokens as each other. Texts with a signature,
    thoughts, the system instruction and results of function calls stay as they are.

    Args:
        request: What is asked; it is not changed.
        total: Its tokens.
        limit: How many it may have.
        counter: Counts texts.
    """
    shorter = pb.ExecuteRequest()
    shorter.CopyFrom(request)
    parts = _texts(shorter)
    sizes = [await counter.texts([part.text]) for part in parts]
    most = _water_level(sizes, limit - (total - sum(sizes)))
    if most < _KEPT_TOKENS:
        return None
    for part, size in zip(parts, sizes, strict=True):
        if size > most:
            part.text = await _cut(part.text, size, most, counter)
    if request.prompt:
        shorter.prompt = parts[0].text
        del shorter.contents[:]
    return shorter


def _may_begin(turn: content.Content) -> bool:
    return turn.role in ("", "user") and not answers_a_call([turn])


def _texts(request: pb.ExecuteRequest) -> list[content.Part]:
    """Return the parts that may be cut; a prompt becomes one for the time being."""
    if request.prompt:
        prompt = request.prompt
        return [request.contents.add(role="user").parts.add(text=prompt)]
    return [
        part
        for turn in request.contents
        for part in turn.parts
        if part.text and not part.thought and not part.HasField("thought_signature")
    ]


def _water_level(sizes: Sequence[int], room: int) -> int:
    """Return the most that each may have for all together to have room; below 0 for none."""
    rest = room
    ordered = sorted(sizes)
    for place, size in enumerate(ordered):
        share = rest // (len(ordered) - place)
        if size > share:
            return share
        rest -= size
    return max(ordered, default=-1)


async def _cut(text: str, size: int, most: int, counter: TokenCounter) -> str:
    """Return the two ends of a text that has `size` tokens, with at most `most` of them."""
    kept = int(len(text) * (most - _CUT_TOKENS) / size)
    shorter = _ends(text, kept)
    for _ in range(_ROUNDS):
        found = await counter.texts([shorter])
        if found <= most:
            break
        kept = int(kept * most / found * _SHORTER)
        shorter = _ends(text, kept)
    return shorter


def _ends(text: str, kept: int) -> str:
    head = kept - kept // 2
    tail = len(text) - kept // 2
    return text[:head] + _CUT.format(count=tail - head) + text[tail:]
