"""Faults in what an answer says: nothing, too much, or something never seen before."""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING

from gemini_backend.sizes import MIB

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

    from gemini_backend.upstream.simulator.faults.fault import Fault
    from gemini_backend.upstream.simulator.wire import Json

OVERSIZED = MIB
_RATED = ("HATE_SPEECH", "DANGEROUS_CONTENT", "HARASSMENT", "SEXUALLY_EXPLICIT")
_MESSAGES = {
    "MALFORMED_FUNCTION_CALL": "Malformed function call: print(default_api.simulated(",
    "RECITATION": "Content was withheld because it may recite copyrighted material.",
}


async def altered(
    chunks: AsyncGenerator[Json, None], faults: Sequence[Fault]
) -> AsyncGenerator[Json, None]:
    """``chunks`` with what ``faults`` do to them."""
    for fault in faults:
        chunks = _apply(chunks, fault)
    async with aclosing(chunks):
        async for chunk in chunks:
            yield chunk


def _apply(chunks: AsyncGenerator[Json, None], fault: Fault) -> AsyncGenerator[Json, None]:
    if fault.fault in ("blocked", "empty"):
        return _instead(chunks, fault)
    if fault.fault == "finish":
        return _finished(chunks, fault)
    if fault.fault in ("unknown_fields", "oversized"):
        return _grown(chunks, fault)
    return chunks


async def _instead(chunks: AsyncGenerator[Json, None], fault: Fault) -> AsyncGenerator[Json, None]:
    async with aclosing(chunks):
        async for chunk in chunks:
            yield _blocked(chunk, fault) if fault.fault == "blocked" else _empty(chunk, fault.kind)
            return


def _prompt_only(chunk: Json) -> Json:
    usage = chunk["usageMetadata"]
    kept = {name: usage[name] for name in ("promptTokenCount", "promptTokensDetails")}
    return {**kept, "totalTokenCount": usage["promptTokenCount"]}


def _blocked(chunk: Json, fault: Fault) -> Json:
    return {
        "promptFeedback": {"blockReason": fault.reason or "SAFETY"},
        "usageMetadata": _prompt_only(chunk),
        "modelVersion": chunk["modelVersion"],
        "responseId": chunk["responseId"],
    }


def _empty(chunk: Json, kind: str) -> Json:
    candidate: Json = {"finishReason": "STOP", "index": 0}
    if kind == "no_parts":
        candidate = {"content": {"role": "model"}, **candidate}
    elif kind == "empty_text":
        candidate = {"content": {"parts": [{"text": ""}], "role": "model"}, **candidate}
    rest = {**chunk, "usageMetadata": _prompt_only(chunk)}
    del rest["candidates"]
    return rest if kind == "no_candidates" else {"candidates": [candidate], **rest}


async def _finished(chunks: AsyncGenerator[Json, None], fault: Fault) -> AsyncGenerator[Json, None]:
    reason = fault.reason or "SAFETY"
    keep = fault.after or 0
    sent = 0
    async with aclosing(chunks):
        async for chunk in chunks:
            ends = any("finishReason" in candidate for candidate in chunk["candidates"])
            if sent < keep and not ends:
                sent += 1
                yield chunk
                continue
            content = chunk["candidates"][0]["content"] if sent < keep else {}
            candidate = {"content": content, "finishReason": reason, "index": 0}
            yield {**chunk, "candidates": [candidate | _explained(reason)]}
            return


def _explained(reason: str) -> Json:
    if reason == "SAFETY":
        ratings: list[Json] = [
            {"category": f"HARM_CATEGORY_{name}", "probability": "NEGLIGIBLE"} for name in _RATED
        ]
        ratings[0] |= {"probability": "HIGH", "blocked": True}
        return {"safetyRatings": ratings}
    return {"finishMessage": _MESSAGES[reason]} if reason in _MESSAGES else {}


async def _grown(chunks: AsyncGenerator[Json, None], fault: Fault) -> AsyncGenerator[Json, None]:
    first = True
    async with aclosing(chunks):
        async for chunk in chunks:
            if fault.fault == "unknown_fields":
                yield _with_unknown_fields(chunk)
            else:
                yield _oversized(chunk, fault.bytes or OVERSIZED) if first else chunk
            first = False


def _with_unknown_fields(chunk: Json) -> Json:
    future = {"kind": "FUTURE", "score": 0.5, "items": [1, {"deep": True}]}
    candidates = []
    for candidate in chunk.get("candidates", ()):
        content = candidate["content"]
        parts = [{**part, "futurePart": future} for part in content.get("parts", ())]
        content = {**content, "parts": parts}
        candidates.append({**candidate, "content": content, "futureCandidate": future})
    usage = {**chunk["usageMetadata"], "futureTokenCount": 7}
    return {**chunk, "candidates": candidates, "usageMetadata": usage, "futureResponse": future}


def _oversized(chunk: Json, size: int) -> Json:
    candidate = chunk["candidates"][0]
    parts = [{"text": "x" * size}, *candidate["content"].get("parts", ())]
    content = {"parts": parts, "role": "model"}
    return {**chunk, "candidates": [{**candidate, "content": content}]}
