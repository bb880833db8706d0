"""Text made from the prompt alone: the same request always gets the same answer."""

from __future__ import annotations

import re
from itertools import cycle, islice
from typing import TYPE_CHECKING

from gemini_backend.upstream.simulator.tokens import pieces
from gemini_backend.upstream.simulator.wire import digest, encode, shorten

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from gemini_backend.upstream.simulator.requests import Ask
    from gemini_backend.upstream.simulator.wire import Json

_ABOUT = re.compile(r"\b(?:about|on|of)\s+(?:an?\s+|the\s+)?([\w' -]{2,40})", re.IGNORECASE)
_REPEAT = re.compile(
    r"\b(?:repeat after me|(?:say|reply|answer|respond)(?: with)?(?: exactly| only)?)\s*:\s*(.+)",
    re.IGNORECASE | re.DOTALL,
)
_WORD = re.compile(r"[^\W\d_]{4,}")

_HAIKU = (
    "{Topic} at first light,\nquiet words drift into view,\nthe day finds its shape.",
    "Soft rain on the stones,\n{topic} moves and does not stay,\nthe banks keep its song.",
    "Between two still hills\n{topic} carries the evening\ntowards a wide sky.",
)
_OPENINGS = (
    "Here is a short answer to “{question}”.",
    "You asked: “{question}”.",
    "Let me take “{question}” step by step.",
)
_SENTENCES = (
    "The first thing to know about {topic} is that it rewards a closer look.",
    "Most people meet {topic} long before they learn its name.",
    "In practice, {topic} is shaped by small and patient changes.",
    "What matters most here is how {topic} fits with everything around it.",
    "There are exceptions, but for {topic} the simple rule usually holds.",
    "Seen from a distance, {topic} looks plain; seen closely, it rarely is.",
    "A good next step would be to try {topic} on a small example.",
    "None of this is the last word on {topic}, but it is a fair beginning.",
)
_STOPWORDS = (
    "about what which write tell with that this from have your please give does there where when "
    "would could should into some them they were just like make more most than then only"
)


class EchoEngine:
    """Answers with the prompt's own words; costs next to nothing.

    The prompt may steer it: ``[[say: TEXT]]`` is answered with TEXT, ``[[length: N]]`` with N
    tokens.
    """

    async def write(self, ask: Ask, candidate: int) -> AsyncIterator[str]:
        """See ``Engine``."""
        for piece in _pieces(ask, candidate):
            yield piece

    def close(self) -> None:
        """See ``Engine``."""


def _pieces(ask: Ask, candidate: int) -> Iterator[str]:
    for directive in ask.directives():
        name, _, rest = directive.partition(":")
        if name.strip() == "say":
            return iter(pieces(rest.strip()))
        if name.strip() == "length" and rest.strip().isdecimal():
            filler = pieces(" " + " ".join(_body(ask, candidate)))
            return islice(cycle(filler), int(rest))
    return iter(pieces(_answer(ask, candidate)))


def _answer(ask: Ask, candidate: int) -> str:
    responses = ask.function_responses()
    if responses:
        return _summary(responses)
    question = ask.question()
    repeated = _REPEAT.search(question)
    if repeated:
        return repeated.group(1).strip()
    pick = digest(ask.seed, candidate)
    topic = _topic(question)
    if "haiku" in question.lower():
        poem = _HAIKU[pick[0] % len(_HAIKU)]
        return poem.format(topic=topic, Topic=topic[:1].upper() + topic[1:])
    opening = _OPENINGS[pick[1] % len(_OPENINGS)].format(question=shorten(question, 100))
    return " ".join([opening, *_memory(ask), *_body(ask, candidate)])


def _body(ask: Ask, candidate: int) -> list[str]:
    pick = digest(ask.seed, candidate)
    topic = _topic(ask.question())
    start, number = pick[2] % len(_SENTENCES), 2 + pick[3] % 4
    chosen = islice(cycle(_SENTENCES), start, start + number)
    return [sentence.format(topic=topic) for sentence in chosen]


def _memory(ask: Ask) -> list[str]:
    earlier = [
        part["text"]
        for content in ask.contents[:-1]
        if content.get("role", "user") == "user"
        for part in content.get("parts", ())
        if "text" in part
    ]
    if not earlier:
        return []
    return [f"Earlier you said “{shorten(earlier[-1], 60)}” ({len(earlier)} before this)."]


def _topic(question: str) -> str:
    about = _ABOUT.search(question)
    if about:
        return about.group(1).strip()
    words = [w for w in _WORD.findall(question) if w.lower() not in _STOPWORDS.split()]
    return max(words, key=len) if words else "the matter"


def _summary(responses: list[Json]) -> str:
    """A sentence that says what the functions returned."""
    told = [
        f"{item.get('name', 'the function')} returned {encode(item.get('response', {})).decode()}"
        for item in responses
    ]
    return "According to the tools, " + ", and ".join(told) + "."
