"""Deltas are joined where they go on with each other, and nowhere else."""

from __future__ import annotations

from gemini.backend.v1 import content_pb2 as content
from gemini.backend.v1 import execute_service_pb2 as pb
from gemini_backend.processing.answers.delta_merge import joined


def test_deltas_that_say_different_things_stay_apart() -> None:
    """Texts are joined, thoughts and calls are not mixed with them, ratings are not lost."""
    rating = content.SafetyRating(probability=content.HARM_PROBABILITY_LOW)
    pieces = [
        pb.Delta(parts=[content.Part(text="a", thought=True)]),
        pb.Delta(parts=[content.Part(text="b", thought=True), content.Part(text="c")]),
        pb.Delta(parts=[content.Part(text="d")], safety_ratings=[rating]),
        pb.Delta(parts=[content.Part(text="e", thought_signature=b"s")]),
        pb.Delta(parts=[content.Part(text="f")], safety_ratings=[rating, rating]),
    ]
    found = joined(pieces)
    assert [
        [("ab", True, b""), ("cd", False, b""), ("e", False, b"s")],
        [("f", False, b"")],
    ] == [[(p.text, p.thought, p.thought_signature) for p in one.parts] for one in found]
    assert [1, 2] == [len(one.safety_ratings) for one in found]


def test_each_candidate_has_its_delta() -> None:
    """Pieces of several candidates, however mixed, become one delta each."""
    pieces = [
        pb.Delta(candidate_index=index, parts=[content.Part(text=text)])
        for index, text in ((0, "a"), (1, "x"), (0, "b"), (1, "y"))
    ]
    assert [(0, "ab"), (1, "xy")] == [
        (one.candidate_index, one.parts[0].text) for one in joined(pieces)
    ]
