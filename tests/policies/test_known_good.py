"""What was found in order is known again, within bounds."""

from __future__ import annotations

from gemini_backend.policies.known_good import KnownGood


def test_it_is_known_by_what_it_was_held_against() -> None:
    """The same bytes held against something else have to be checked anew."""
    known, rules, others = KnownGood(), object(), object()
    known.learn(b"a", rules)
    assert (True, False, False) == (
        known.knows(b"a", rules),
        known.knows(b"a", others),
        known.knows(b"b", rules),
    )


def test_it_is_bounded() -> None:
    """Large requests are never kept, and beyond so many small ones all are forgotten."""
    known, rules = KnownGood(), object()
    known.learn(bytes(1025), rules)
    assert not known.knows(bytes(1025), rules)
    for number in range(4096):
        known.learn(b"%d" % number, rules)
    assert known.knows(b"0", rules)
    known.learn(b"one more", rules)
    assert (False, True) == (known.knows(b"0", rules), known.knows(b"one more", rules))
