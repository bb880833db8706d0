"""Events with a text: one that is copied says what one says that is made anew."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hypothesis import given
from hypothesis import strategies as st

from gemini_backend.upstream.gemini.answer import text_events
from gemini_backend.upstream.gemini.answer.text_events import TextEvents
from gemini_backend.upstream.gemini.translation import wire

if TYPE_CHECKING:
    import pytest

_counts = st.sampled_from([None, 0, 1, 7])
_details = st.sampled_from([None, [wire.ModalityCount("TEXT", 3)], [wire.ModalityCount("NEW")]])
_usage = st.builds(
    wire.Usage,
    prompt_token_count=_counts,
    candidates_token_count=_counts,
    total_token_count=_counts,
    thoughts_token_count=st.sampled_from([None, 2]),
    prompt_tokens_details=_details,
    service_tier=st.sampled_from([None, "standard", "new"]),
)
_alike = st.builds(
    lambda tokens: wire.Usage(
        3, tokens, tokens + 3, prompt_tokens_details=[wire.ModalityCount("A")]
    ),
    st.integers(0, 9),
)
_event = st.tuples(
    st.sampled_from(["a", "bc"]),
    st.integers(1, 9),
    st.sampled_from([None, 0, 0, 1]),
    st.sampled_from(["model", "model", None]),
    st.one_of(_alike, _alike, _usage, st.none()),
)


@given(st.lists(_event, max_size=12))
def test_a_copied_event_says_what_one_says_that_is_made_anew(
    found: list[tuple[str, int, int | None, str | None, wire.Usage | None]],
) -> None:
    """Whatever came before it; and none is changed by those behind it."""
    events = TextEvents()
    assert [text_events.made(*one) for one in found] == [events.event(*one) for one in found]


def test_a_form_is_kept_from_those_who_are_given_its_copies() -> None:
    """What they write into an event is in no other."""
    events, counts = TextEvents(), wire.Usage(3, 4, 7)
    for _ in range(4):
        event = events.event("a", 1, 0, "model", counts)
        assert text_events.made("a", 1, 0, "model", counts) == event
        event.delta.usage.prompt_token_count = 99
        event.delta.parts.add().text = "b"


def test_few_forms_are_made_for_an_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """One where events are alike, and no more than a few where they are not."""
    forms: list[Any] = []
    kind = text_events._Form

    def counted(*found: Any) -> Any:
        forms.append(found)
        return kind(*found)

    monkeypatch.setattr(text_events, "_Form", counted)
    alike, apart = TextEvents(), TextEvents()
    for tokens in range(10):
        alike.event("a", tokens, 0, "model", wire.Usage(3, tokens, tokens + 3))
    assert 1 == len(forms)
    for tokens in range(10):
        apart.event("a", tokens, 0, "model", wire.Usage(tokens, 1, 3))
    assert 1 + text_events._FORMS == len(forms)
