"""Pieces of an answer as the JSON that Gemini sends, chunk by chunk or all at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gemini_backend.upstream.simulator.answers.usage import Usage
from gemini_backend.upstream.simulator.wire import Json, response_id

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gemini_backend.upstream.simulator.answers.compose import Piece
    from gemini_backend.upstream.simulator.requests import Ask


class Responder:
    """Turns the pieces of one answer into responses."""

    def __init__(self, ask: Ask, number: int) -> None:
        """Starts an answer.

        Args:
            ask: What is asked.
            number: How many requests came before; part of the response's id.
        """
        self._usage = Usage(ask)
        self._model = ask.served_by.name
        self._id = response_id(ask.seed, number)

    def chunk(self, piece: Piece) -> Json:
        """One chunk of a stream."""
        self._count(piece)
        return self._response([_candidate([piece])])

    def whole(self, pieces: Iterable[Piece]) -> Json:
        """The whole answer at once."""
        by_candidate: dict[int, list[Piece]] = {}
        for piece in pieces:
            self._count(piece)
            by_candidate.setdefault(piece.candidate, []).append(piece)
        candidates = [_candidate(of_one) for of_one in by_candidate.values()]
        for candidate in candidates:
            parts = candidate["content"].get("parts", ())
            if any("functionCall" in part for part in parts):
                candidate["finishMessage"] = "Model generated function call(s)."
        return self._response(candidates)

    def _count(self, piece: Piece) -> None:
        self._usage.output += piece.output
        self._usage.thoughts += piece.thoughts
        self._usage.tools += piece.tools

    def _response(self, candidates: list[Json]) -> Json:
        return {
            "candidates": candidates,
            "usageMetadata": self._usage.metadata(),
            "modelVersion": self._model,
            "responseId": self._id,
        }


def _candidate(pieces: list[Piece]) -> Json:
    parts = _merged([part for piece in pieces for part in piece.parts])
    content: Json = {"parts": parts, "role": "model"} if parts else {"role": "model"}
    out: Json = {"content": content}
    if pieces[-1].finish:
        out["finishReason"] = pieces[-1].finish
    out["index"] = pieces[0].candidate
    for piece in pieces:
        out |= piece.extra
    return out


def _merged(parts: list[Json]) -> list[Json]:
    """Neighbouring texts as one; an empty one only with a signature, or where it stands alone."""
    out: list[Json] = []
    for part in parts:
        before = out[-1] if out else None
        if before is not None and _joins(before, part):
            out[-1] = {**before, **part, "text": before["text"] + part["text"]}
        elif part.get("text") != "" or "thoughtSignature" in part or len(parts) == 1:
            out.append(part)
    return out


def _joins(before: Json, part: Json) -> bool:
    return (
        "text" in before
        and "text" in part
        and "thoughtSignature" not in before
        and before.get("thought") == part.get("thought")
    )
