"""What was found in order is known again, within bounds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from gemini.backend.v1 import content_pb2 as content
from gemini.backend.v1 import execute_service_pb2 as pb
from gemini_backend.policies.base import with_model
from gemini_backend.policies.checks.validated_cache import (
    SKETCHED_BYTES,
    Renamed,
    ValidatedCache,
    sketch_of,
)
from tests.support.messages.calls import make_call

if TYPE_CHECKING:
    from tests.support.clock import FakeClock


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


def test_requests_that_differ_in_their_words_only_have_one_form(clock: FakeClock) -> None:
    """What the rules may find wrong with the words is told apart, and so is all else."""
    a, b, c, d = (pb.ExecuteRequest(prompt=one, model="m") for one in ("aa", "b ", "c", ""))
    c.priority = pb.PRIORITY_BATCH
    forms = [_form(clock, one) for one in (a, b, c, d)]
    assert forms[0] == forms[1]
    assert 3 == len(set(forms))
    assert None is _form(clock, pb.ExecuteRequest(prompt=" a"))
    assert "aa" == a.prompt


def test_a_sketch_is_made_once_for_each_request(clock: FakeClock) -> None:
    """A layer that puts a changed request in place of another has one of it made."""
    call, request = make_call(clock), pb.ExecuteRequest(prompt="a", model="m")
    sketch, changed = sketch_of(call, request), pb.ExecuteRequest(prompt="b", model="m")
    assert sketch is sketch_of(call, request)
    found = sketch_of(call, changed)
    assert found is not None
    assert (changed, "b") == (found.request, found.prompt)


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
def test_what_may_be_large_is_not_remembered(clock: FakeClock, request_: Any) -> None:
    """Turns, tools, long prompts and other messages are looked at each time."""
    known, rules = ValidatedCache(), object()
    assert _form(clock, request_) is None
    known.learn(None, rules)
    known.learn(b"x" * 1025, rules)
    assert not known.knows(b"x" * 1025, rules)
    assert not known.knows(None, rules)


def _form(clock: FakeClock, request: Any) -> bytes | None:
    sketch = sketch_of(make_call(clock), request)
    return None if sketch is None else sketch.form


@pytest.mark.parametrize("prompt", ["a", "ä" * 900, "", " a"])
def test_a_copy_by_another_model_has_the_sketch_of_a_request(clock: FakeClock, prompt: str) -> None:
    """It is the one that the copy would be given by itself, whether it was known before or not."""
    renamed = Renamed()
    for _ in range(3):
        call, request = make_call(clock), pb.ExecuteRequest(prompt=prompt, model="m")
        changed = with_model(request, "models/m")
        sketch_of(call, request)
        renamed.sketch(call, request, changed, "models/m")
        assert sketch_of(make_call(clock), changed) == sketch_of(call, changed)


def test_a_copy_that_is_too_large_is_not_sketched(clock: FakeClock) -> None:
    """A longer name may take a request beyond the bound."""
    renamed, long = Renamed(), "models/" + "m" * 100
    for prompt, sketched in (("a", True), ("a" * 960, False)):
        call, request = make_call(clock), pb.ExecuteRequest(prompt=prompt, model="m")
        assert sketch_of(call, request) is not None
        changed = with_model(request, long)
        renamed.sketch(call, request, changed, long)
        assert sketched == (sketch_of(call, changed) is not None)


def test_what_is_sketched_is_small(clock: FakeClock) -> None:
    """Whoever has a sketch need not measure the request."""
    request = pb.ExecuteRequest(prompt="\U0001f600" * 1000, model="models/m")
    assert sketch_of(make_call(clock), request) is not None
    assert request.ByteSize() < SKETCHED_BYTES
