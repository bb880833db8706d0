"""Kept answers are made ready once, within bounds."""

from __future__ import annotations

from gemini_backend.policies.cache.ready import Ready, ReadyAnswers
from tests.support.messages.calls import completed, delta, started


def _events(text: str) -> tuple[bytes, ...]:
    return tuple(one.SerializeToString() for one in (started(), delta(text), completed()))


def test_each_is_given_a_message_of_its_own() -> None:
    """A whole that was changed by whoever was given it is the same the next time."""
    ready = Ready(_events("The Nile"))
    first, second = ready.whole(), ready.whole()
    assert first == second
    first.candidates[0].content.parts[0].text = "changed"
    assert "The Nile" == ready.whole().candidates[0].content.parts[0].text


def test_it_says_what_its_last_event_does() -> None:
    """The version and the usage are those of the answer's end."""
    ready, done = Ready(_events("The Nile")), completed().completed
    assert (done.model_version, done.usage) == (ready.version, ready.usage)


def test_the_same_events_are_read_once() -> None:
    """Whoever is given the same answer is given the same `Ready`."""
    answers = ReadyAnswers()
    assert answers.of(_events("a")) is answers.of(_events("a"))
    assert 1 == len(answers)


def test_it_is_bounded() -> None:
    """Beyond 8 MiB that goes which is unused for longest; a large one is not kept."""
    answers = ReadyAnswers()
    events = [_events(f"{number:06}" * 10_000) for number in range(100)]
    first = answers.of(events[0])
    for one in events:
        answers.of(one)
        answers.of(events[0])
    assert first is answers.of(events[0])
    assert 60 < len(answers) < 70
    before = len(answers)
    answers.of(_events("x" * 70_000))
    assert before == len(answers)
