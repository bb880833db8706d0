"""Makes an answer piece by piece: thoughts, calls, code, text, and the reason why it ends."""

from __future__ import annotations

from contextlib import aclosing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

from gemini_backend.upstream.simulator import tokens
from gemini_backend.upstream.simulator.answers import functions, grounding
from gemini_backend.upstream.simulator.answers.thinking import thoughts
from gemini_backend.upstream.simulator.requests import ENUM_MIME, signatures
from gemini_backend.upstream.simulator.schemas import value_for
from gemini_backend.upstream.simulator.wire import Json, encode

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator

    from gemini_backend.upstream.simulator.engines import Engine
    from gemini_backend.upstream.simulator.requests import Ask


@dataclass(slots=True)
class Piece:
    """What one chunk of a stream adds.

    Attributes:
        candidate: Which answer it belongs to.
        parts: The parts that it adds.
        output: Tokens of the answer that it adds.
        thoughts: Tokens of thought that it adds.
        tools: Prompt tokens used up by built-in tools that it adds.
        finish: Why the answer ends with this piece; empty if it goes on.
        extra: Further fields of the candidate.
    """

    candidate: int
    parts: list[Json] = field(default_factory=list)
    output: int = 0
    thoughts: int = 0
    tools: int = 0
    finish: str = ""
    extra: Json = field(default_factory=dict)


async def compose(ask: Ask, engine: Engine, chunk_tokens: int) -> AsyncIterator[Piece]:
    """The answers to ``ask``, one candidate after the other.

    Args:
        ask: What is asked.
        engine: What writes the text.
        chunk_tokens: How many tokens of text a piece has.
    """
    for number in range(ask.config.get("candidateCount", 1)):
        async for piece in _candidate(ask, engine, chunk_tokens, number):
            yield piece


async def _candidate(
    ask: Ask, engine: Engine, chunk_tokens: int, number: int
) -> AsyncIterator[Piece]:
    mind = thoughts(ask)
    tools = grounding.tool_tokens(ask) if ask.hop.first and not number else 0
    owed = Piece(number, thoughts=mind.tokens, tools=tools)
    for index, text in enumerate(mind.texts):
        share = _share(mind.tokens, len(mind.texts), index)
        owed.thoughts -= share
        yield Piece(number, [{"text": text, "thought": True}], thoughts=share)
    called = functions.calls(ask) if ask.hop.first else []
    if called:
        owed.parts = called
        owed.output = sum(tokens.count_parts(called).values())
        for piece in _ended(ask, owed):
            yield piece
        return
    code = grounding.code_parts(ask) if ask.hop.first else []
    if code:
        owed.parts, owed.output = code, sum(tokens.count_parts(code).values())
        yield owed
        owed = Piece(number)
    async for piece in _text(ask, engine, chunk_tokens, owed):
        yield piece


def _share(total: int, of: int, index: int) -> int:
    return total // of + (1 if index < total % of else 0)


def _ended(ask: Ask, last: Piece, finish: str = "STOP") -> list[Piece]:
    """``last`` as the end of an answer; from Gemini 3 on, an empty text ends it."""
    if ask.model.demands_signatures and last.parts and finish != "CONTINUATION":
        extra, last.extra = last.extra, {}
        tail = Piece(last.candidate, [{"text": ""}], finish=finish, extra=extra)
        if ask.model.thinks and not any("functionCall" in part for part in last.parts):
            tail.parts[0]["thoughtSignature"] = signatures.sign(ask.seed, "text", last.candidate)
        return [last, tail]
    last.finish = finish
    return [last]


async def _text(ask: Ask, engine: Engine, size: int, owed: Piece) -> AsyncIterator[Piece]:
    shaped = _Shaped(ask, size)
    whole = ""
    held = owed
    async for text, number in shaped.cut(_source(ask, engine, owed.candidate)):
        whole += text
        if held.parts:
            yield held
            held = Piece(owed.candidate)
        held.parts = [{"text": text}]
        held.output = number
    held.extra = {
        **grounding.candidate_fields(ask, whole),
        **_safety(ask),
        **ask.hop.fields(shaped.used, shaped.finish),
    }
    for piece in _ended(ask, held, shaped.finish):
        yield piece


async def _source(ask: Ask, engine: Engine, candidate: int) -> AsyncGenerator[str, None]:
    fixed = _structured(ask)
    if fixed is not None:
        for piece in tokens.pieces(fixed):
            yield piece
        return
    async for piece in engine.write(ask, candidate):
        yield piece


def _structured(ask: Ask) -> str | None:
    """The answer that a schema or JSON mode asks for; None if free text will do."""
    schema = ask.schema()
    if ask.config.get("responseMimeType") == ENUM_MIME:
        return str(value_for(schema, ask.question()))
    if not ask.wants_json():
        return None
    if schema is not None:
        return encode(value_for(schema, ask.question())).decode()
    answer = ask.function_responses()
    return encode({"answer": answer or ask.question()}).decode()


def _safety(ask: Ask) -> Json:
    asked = ask.request.get("safetySettings", ())
    ratings = [{"category": s.get("category"), "probability": "NEGLIGIBLE"} for s in asked]
    return {"safetyRatings": ratings} if ratings else {}


class _Shaped:
    """Cuts a text into chunks, at the first stop sequence, and at the token limit."""

    def __init__(self, ask: Ask, size: int) -> None:
        stops = cast("list[str]", ask.config.get("stopSequences", ()))
        self._stops = [stop for stop in stops if stop]
        self._hop = ask.hop
        asked: int = ask.config.get("maxOutputTokens", ask.model.output_limit)
        by_hop = 0 < self._hop.size <= asked
        most = self._hop.size if by_hop else asked
        empty = "hop_empty" in self._hop.faults
        self._limit = 0 if empty else max(most - thoughts(ask).tokens, 0)
        self._over = "CONTINUATION" if by_hop or empty else "MAX_TOKENS"
        self._size = size
        self.used = 0
        self.finish = "STOP"

    async def cut(self, source: AsyncGenerator[str, None]) -> AsyncIterator[tuple[str, int]]:
        """Chunks of text, each with its number of tokens."""
        buffer, waiting, skipped = "", 0, 0
        # A stop sequence may begin in one chunk and end in the next.
        hold = max((len(stop) for stop in self._stops), default=1) - 1
        async with aclosing(source):
            async for text in _endless(source) if "hop_endless" in self._hop.faults else source:
                if skipped < self._hop.offset:
                    skipped += 1
                    continue
                if self.used == self._limit:
                    self.finish = self._over
                    break
                buffer, waiting = buffer + text, waiting + 1
                self.used += 1
                found = min((i for s in self._stops if (i := buffer.find(s)) >= 0), default=-1)
                if found >= 0:
                    buffer = buffer[:found]
                    break
                if waiting >= self._size and len(buffer) > hold:
                    ready = len(buffer) - hold
                    yield buffer[:ready], waiting
                    buffer, waiting = buffer[ready:], 0
        if buffer or waiting:
            yield buffer, waiting


async def _endless(source: AsyncGenerator[str, None]) -> AsyncGenerator[str, None]:
    async for text in source:
        yield text
    while True:
        yield " on"
