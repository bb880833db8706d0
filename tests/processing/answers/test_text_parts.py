"""Plain texts that follow each other become one part."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gemini.backend.v1 import content_pb2 as content
from gemini_backend.processing.answers import text_parts
from gemini_backend.processing.answers.text_parts import TextJoiner

PARTS = st.lists(
    st.one_of(
        st.builds(content.Part, text=st.sampled_from(["", "a", "bc"])),
        st.builds(content.Part, text=st.just("d"), thought=st.booleans()),
        st.builds(content.Part, text=st.just("e"), thought_signature=st.just(b"s")),
        st.builds(content.Part, function_call=st.builds(content.FunctionCall, name=st.just("f"))),
    ),
    max_size=8,
)


def joined(parts: list[content.Part]) -> content.Content:
    """Return parts as a joiner has them at its end."""
    said = content.Content()
    joiner = TextJoiner(said.parts)
    for part in parts:
        joiner.add(part)
    joiner.end()
    return said


def written(parts: list[content.Part]) -> list[tuple[bytes, str]]:
    """Return every character with what its part says beside it; other parts once."""
    found = []
    for part in parts:
        rest = content.Part()
        rest.CopyFrom(part)
        rest.ClearField("text")
        kind = rest.SerializeToString()
        found += [(kind, sign) for sign in part.text] or [(kind, "")] * (not part.HasField("text"))
    return found


@given(PARTS)
def test_joined_parts_say_the_same(parts: list[content.Part]) -> None:
    """No character moves to another kind of part, and none is lost."""
    assert written(parts) == written(list(joined(parts).parts))


@given(PARTS)
def test_what_is_joined_goes_on_with_nothing(parts: list[content.Part]) -> None:
    """Parts that were joined once stay as they are."""
    once = joined(parts)
    assert once == joined(list(once.parts))


@given(PARTS, PARTS)
def test_one_part_is_joined_at_the_seam(
    first: list[content.Part], more: list[content.Part]
) -> None:
    """To append joined parts to joined parts is to join all of them."""
    said = joined(first)
    text_parts.append(said.parts, joined(more).parts)
    assert joined([*first, *more]) == said
