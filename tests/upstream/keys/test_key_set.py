"""Which keys are in use."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from gemini_backend.config import Secret
from gemini_backend.errors import NoUpstreamKey
from gemini_backend.upstream.keys import KeySet, KeySource, KnownKey

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gemini_backend.call import UpstreamKey


def known(source: KeySource, *texts: str) -> list[KnownKey]:
    """Return keys of a source; `project:text` has a project."""
    split = [text.rpartition(":") for text in texts]
    return [KnownKey(Secret(text), source, project) for project, _, text in split]


def in_use(keys: KeySet) -> list[tuple[str, KeySource]]:
    """Return texts and sources."""
    return [(one.text.reveal(), one.source) for one in keys.known]


def test_the_order_is_that_of_the_sources() -> None:
    """Whichever was read first; a key of two sources is that of the first."""
    keys = KeySet(known(KeySource.CONFIGURATION, "c1"))
    keys.put(KeySource.STORE, known(KeySource.STORE, "s1", "c1"))
    keys.put(KeySource.FILE, known(KeySource.FILE, "f1", "s1", "f1"))
    expected = [
        ("c1", KeySource.CONFIGURATION),
        ("f1", KeySource.FILE),
        ("s1", KeySource.FILE),
    ]
    assert expected == in_use(keys)
    keys.put(KeySource.FILE, [])
    assert ("s1", KeySource.STORE) == in_use(keys)[-1]


def test_whoever_uses_them_is_told() -> None:
    """Of each change, and only of changes."""
    keys, told = KeySet(known(KeySource.CONFIGURATION, "c1")), list[list[str]]()

    def tell(now: Sequence[UpstreamKey]) -> None:
        told.append([one.project for one in now])

    keys.subscribe(tell)
    changes = [
        keys.put(KeySource.FILE, known(KeySource.FILE, *texts))
        for texts in (["p:f1"], ["p:f1"], ["q:f1"], ["c1"], [])
    ]
    first, added = (one.key.key_id for one in known(KeySource.FILE, "c1", "f1"))
    assert [[first, "p"], [first, "q"], [first]] == told
    nothing: set[str] = set()
    assert [({added}, nothing), (nothing, nothing), (nothing, nothing), (nothing, {added})] == (
        changes[:4]
    )


def test_a_removed_key_ends_the_calls_that_have_it() -> None:
    """Its text is there for them, and it is no longer in use."""
    keys = KeySet()
    keys.put(KeySource.FILE, known(KeySource.FILE, "f1"))
    (taken,) = keys.keys
    keys.put(KeySource.FILE, [])
    assert (0, "f1") == (len(keys), keys.text(taken))


def test_what_is_kept_of_removed_keys_is_bounded() -> None:
    """A call that waits longer than a thousand removals fails, and may be retried."""
    keys = KeySet()
    keys.put(KeySource.FILE, known(KeySource.FILE, "gone"))
    (taken,) = keys.keys
    for number in range(11):
        texts = [f"f{number}-{one}" for one in range(100)]
        keys.put(KeySource.FILE, known(KeySource.FILE, *texts))
    with pytest.raises(NoUpstreamKey, match="retry"):
        keys.text(taken)


def test_texts_are_not_shown() -> None:
    """By `repr`."""
    text = "AIzaSyB3-set4Key0x7Of1This4Test2Only600"
    keys = KeySet(known(KeySource.CONFIGURATION, text))
    assert (text[:8] in repr(keys), 1) == (False, repr(keys).count(keys.keys[0].key_id))
