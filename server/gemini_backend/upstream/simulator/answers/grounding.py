"""What the built-in tools add to an answer: searches, pages read, code run."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

from gemini_backend.upstream.simulator.tokens import count
from gemini_backend.upstream.simulator.wire import identifier, shorten

if TYPE_CHECKING:
    from gemini_backend.upstream.simulator.requests import Ask
    from gemini_backend.upstream.simulator.wire import Json

_URL = re.compile(r"https?://[^\s<>\"')\]]+")
_SUM = re.compile(r"-?\d+(?:\.\d+)?(?:\s*[-+*/]\s*-?\d+(?:\.\d+)?)+")
_SENTENCE = re.compile(r"[^.!?\n]+[.!?]?")
_REDIRECT = "https://vertexaisearch.cloud.google.com/grounding-api-redirect/"
_SOURCES = ("example.com", "example.org", "example.net")


def tool_tokens(ask: Ask) -> int:
    """Prompt tokens that the built-in tools use up."""
    used = 0
    if ask.tool("googleSearch") is not None or ask.tool("googleSearchRetrieval") is not None:
        used += 60 + count(ask.question())
    if ask.tool("urlContext") is not None:
        used += 200 * len(_urls(ask))
    if ask.tool("codeExecution") is not None:
        used += 40
    return used


def candidate_fields(ask: Ask, text: str) -> Json:
    """What a candidate with ``text`` bears besides its content: grounding and pages read."""
    if ask.tool("googleSearch") is not None or ask.tool("googleSearchRetrieval") is not None:
        return {"groundingMetadata": _search(ask, text)}
    urls = _urls(ask) if ask.tool("urlContext") is not None else []
    if not urls:
        return {}
    chunks = [{"web": {"uri": url, "title": url.split("/")[2]}} for url in urls]
    status = "URL_RETRIEVAL_STATUS_SUCCESS"
    return {
        "groundingMetadata": {"groundingChunks": chunks, "groundingSupports": _supports(text, 1)},
        "urlContextMetadata": {
            "urlMetadata": [{"retrievedUrl": u, "urlRetrievalStatus": status} for u in urls]
        },
    }


def code_parts(ask: Ask) -> list[Json]:
    """The program that was run and what it printed, if code execution is on."""
    if ask.tool("codeExecution") is None:
        return []
    found = _SUM.search(ask.question())
    expression = found.group() if found else f"len({shorten(ask.question(), 60)!r})"
    result = _calculate(expression) if found else str(len(shorten(ask.question(), 60)))
    return [
        {"executableCode": {"language": "PYTHON", "code": f"print({expression})\n"}},
        {"codeExecutionResult": {"outcome": "OUTCOME_OK", "output": f"{result}\n"}},
    ]


def _calculate(expression: str) -> str:
    """Left to right within two ranks, which is all that the expression can hold."""
    items = re.findall(r"(?<![\d.])-?\d+(?:\.\d+)?|[-+*/]", expression.replace(" ", ""))
    terms = [float(items[0])]
    for operator, number in zip(items[1::2], items[2::2], strict=False):
        value = float(number)
        if operator == "*":
            terms[-1] *= value
        elif operator == "/":
            terms[-1] = terms[-1] / value if value else float("inf")
        else:
            terms.append(-value if operator == "-" else value)
    total = math.fsum(terms)
    return str(int(total)) if total.is_integer() else str(total)


def _urls(ask: Ask) -> list[str]:
    return list(dict.fromkeys(_URL.findall(ask.question())))[:20]


def _search(ask: Ask, text: str) -> Json:
    chunks = [
        {"web": {"uri": _REDIRECT + identifier(64, ask.seed, source), "title": source}}
        for source in _SOURCES[: 1 + ask.seed[1] % len(_SOURCES)]
    ]
    query = shorten(ask.question(), 60).rstrip("?.!…").lower()
    return {
        "searchEntryPoint": {"renderedContent": f'<div class="container">{query}</div>'},
        "groundingChunks": chunks,
        "groundingSupports": _supports(text, len(chunks)),
        "webSearchQueries": [query],
    }


def _supports(text: str, sources: int) -> list[Json]:
    """Which sentence rests on which source; positions are bytes of UTF-8, as Gemini counts them."""
    out: list[Json] = []
    for index, match in enumerate(_SENTENCE.finditer(text)):
        sentence = match.group().strip()
        start = len(text[: match.start()].encode())
        start += len(match.group()) - len(match.group().lstrip())
        segment: Json = {"startIndex": start} if start else {}
        segment |= {"endIndex": start + len(sentence.encode()), "text": sentence}
        if sentence:
            out.append({"segment": segment, "groundingChunkIndices": [index % sources]})
    return out
