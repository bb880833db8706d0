"""Whether a request is answered by a function call, and by which."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from gemini_backend.upstream.simulator.requests import signatures
from gemini_backend.upstream.simulator.schemas import value_for
from gemini_backend.upstream.simulator.wire import identifier

if TYPE_CHECKING:
    from gemini_backend.upstream.simulator.requests import Ask
    from gemini_backend.upstream.simulator.wire import Json

_WORD = re.compile(r"[A-Za-z][a-z]+|[A-Z]+(?![a-z])|\d+")
_SHORTEST_WORD = 4


def calls(ask: Ask) -> list[Json]:
    """The parts with function calls that answer ``ask``; none if it is answered by text.

    In mode ``ANY`` there is always a call. In ``AUTO`` and ``VALIDATED`` there is one if the last
    turn is the user's text, and it names a function or holds a word of its name.
    """
    mode, allowed = ask.calling()
    declared = [f for f in ask.functions() if not allowed or f.get("name") in allowed]
    if mode == "NONE" or not declared:
        return []
    named = _named(ask, declared)
    if not named and mode == "ANY":
        named = declared[:1]
    return [_part(ask, function, index) for index, function in enumerate(named)]


def _named(ask: Ask, declared: list[Json]) -> list[Json]:
    if ask.function_responses() or not any("text" in part for part in ask.last_parts()):
        return []
    question = ask.question()
    exact = [f for f in declared if f.get("name", "") and f["name"] in question]
    if exact:
        return exact
    words = set(re.findall(r"\w+", question.lower()))
    scored = [(len(_words(f.get("name", "")) & words), -i) for i, f in enumerate(declared)]
    best, index = max(scored)
    return [declared[-index]] if best else []


def _words(name: str) -> set[str]:
    return {w.lower() for w in _WORD.findall(name) if len(w) >= _SHORTEST_WORD}


def _part(ask: Ask, function: Json, index: int) -> Json:
    name = function.get("name", "")
    schema = function.get("parametersJsonSchema") or function.get("parameters")
    arguments = value_for(schema, ask.question()) if schema else {}
    call: Json = {"name": name, "args": arguments if isinstance(arguments, dict) else {}}
    if ask.model.demands_signatures:
        call["id"] = identifier(8, ask.seed, "call", index)
    part: Json = {"functionCall": call}
    # Only the first of several parallel calls carries a signature.
    if index == 0 and ask.model.thinks:
        part["thoughtSignature"] = signatures.sign(ask.seed, "call", name)
    return part
