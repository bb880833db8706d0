"""What was found in order is known again, within bounds."""

from __future__ import annotations

from typing import Any

import pytest

from gemini.backend.v1 import content_pb2 as content
from gemini.backend.v1 import execute_service_pb2 as pb
from gemini_backend.policies.checks.validated_cache import (
    ValidatedCache,
    small_prompt,
    without_words,
)


def test_it_is_known_by_what_it_was_held_against() -> None:
    """The same bytes held against something else have to be checked anew."""
    known, rules, others = ValidatedCache(), object(), object()
    known.learn(b"a", rules)
    assert (True, False, False) == (
        known.knows(b"a", rules),
        known.knows(b"a", others),
        known.knows(b"b", rules),
    )


def test_it_is_bounded() -> None:
    """Beyond so many all are forgotten."""
    known, rules = ValidatedCache(), object()
    for number in range(4096):
        known.learn(b"%d" % number, rules)
    assert known.knows(b"0", rules)
    known.learn(b"one more", rules)
    assert (False, True) == (known.knows(b"0", rules), known.knows(b"one more", rules))


def test_requests_that_differ_in_their_words_only_are_one() -> None:
    """What the rules may find wrong with the words is told apart, and so is all else."""
    a, b, c = (pb.ExecuteRequest(prompt=one, model="m") for one in ("aa", "b ", "c"))
    c.priority = pb.PRIORITY_BATCH
    assert without_words(a) == without_words(b)
    assert without_words(a) != without_words(c)
    assert [None, None] == [without_words(pb.ExecuteRequest(prompt=one)) for one in ("", " a")]
    assert "aa" == a.prompt


@pytest.mark.parametrize(
    "request_",
    [
        pb.ExecuteRequest(prompt="x" * 1025),
        pb.ExecuteRequest(prompt="x" * 512, session="y" * 512),
        pb.ExecuteRequest(contents=[content.Content()]),
        pb.ExecuteRequest(prompt="x", tools=[content.Tool()]),
        pb.CountTokensRequest(prompt="x"),
    ],
)
def test_what_may_be_large_is_not_remembered(request_: Any) -> None:
    """Turns, tools, long prompts and other messages are looked at each time."""
    known, rules = ValidatedCache(), object()
    assert small_prompt(request_) is None
    known.learn(small_prompt(request_), rules)
    known.learn(b"x" * 1025, rules)
    assert not known.knows(b"x" * 1025, rules)
    assert not known.knows(small_prompt(request_), rules)
