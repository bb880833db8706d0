"""Cutting texts at characters, lists at entries."""

from __future__ import annotations

from google.protobuf.struct_pb2 import Struct
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo
from hypothesis import given
from hypothesis import strategies as st

from gemini.backend.v1.content_pb2 import PromptFeedback, SafetyRating, Usage
from gemini.backend.v1.error_details_pb2 import ExecutionFailure
from gemini_backend.api.requests.cuts import Entries, Text, clear_extras, cut, cut_texts


@given(st.text(), st.integers(3, 200))
def test_a_cut_text_is_the_beginning_of_it(text: str, most: int) -> None:
    """Whole characters, within the size, and only a cut one has the mark."""
    kept = cut(text, most)
    if len(text.encode()) <= most:
        assert text == kept
    else:
        assert len(kept.encode()) <= most
        assert kept.endswith("…")
        assert text.startswith(kept[:-1])
        assert most - len(kept.encode()) < 4


def test_a_text_says_how_many_bytes_it_lacks() -> None:
    """Counted from the whole, however often it was cut."""
    failure = ExecutionFailure(finish_message="0123456789" * 10)
    text = Text("finish", failure, "finish_message", 50)
    assert (50, 50) == (text.size, text.missing())
    text.keep(13)
    assert ("0123456789…", 87) == (failure.finish_message, text.missing())
    text.keep(50)
    assert (50, 50) == (len(failure.finish_message.encode()), text.missing())


def test_a_list_keeps_its_first_or_its_last_entries() -> None:
    """As many as asked for, in their order; the rest is counted."""
    for last, kept in ((False, ["0", "1"]), (True, ["8", "9"])):
        bad = BadRequest(field_violations=[{"field": str(number)} for number in range(10)])
        entries = Entries("violations", bad, "field_violations", 6, last=last)
        assert (6, 4) == (entries.size, entries.missing())
        entries.keep(1)
        entries.keep(2)
        assert (kept, 8) == ([one.field for one in bad.field_violations], entries.missing())


def test_entries_that_come_back_are_cut_as_well() -> None:
    """A list can grow again after its texts were cut."""
    bad = BadRequest(field_violations=[{"description": "x" * 100} for _ in range(3)])
    entries = Entries("violations", bad, "field_violations", 10)
    entries.keep(1)
    assert entries.cut_texts(20)
    entries.keep(3)
    assert [20] * 3 == [len(one.description.encode()) for one in bad.field_violations]
    assert not entries.cut_texts(20)


def test_texts_are_cut_wherever_they_are() -> None:
    """In messages, lists and maps; what is short enough stays."""
    info = ErrorInfo(reason="R", metadata={"long": "y" * 90, "short": "z"})
    assert cut_texts(info, 10)
    assert {"long": "y" * 7 + "…", "short": "z"} == dict(info.metadata)
    failure = ExecutionFailure(
        prompt_feedback=PromptFeedback(safety_ratings=[SafetyRating(category_raw="c" * 90)])
    )
    assert cut_texts(failure, 10)
    assert "c" * 7 + "…" == failure.prompt_feedback.safety_ratings[0].category_raw
    assert not cut_texts(failure, 10)


def test_extras_are_cleared_wherever_they_are() -> None:
    """Both twins, at every depth."""
    struct = Struct()
    struct.update({"a": 1})
    failure = ExecutionFailure(
        usage=Usage(total_token_count=3, extra=struct, extra_json='{"a":1}'),
        prompt_feedback=PromptFeedback(safety_ratings=[SafetyRating(extra_json="{}")]),
    )
    assert clear_extras(failure)
    assert Usage(total_token_count=3) == failure.usage
    assert "" == failure.prompt_feedback.safety_ratings[0].extra_json
    assert not clear_extras(failure)
