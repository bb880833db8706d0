"""One key, with its text and where it comes from."""

from __future__ import annotations

from gemini_backend.call import UpstreamKey
from gemini_backend.config import Secret
from gemini_backend.upstream.keys import KeySource, KnownKey

TEXT = "AIzaSyB3-known8Key0x7Of1This4Test2Only6"


def test_a_key_is_known_by_its_digest() -> None:
    """Without a project it stands for its own."""
    alone = KnownKey(Secret("a"), KeySource.FILE)
    assert UpstreamKey("ca978112", "ca978112") == alone.key
    assert UpstreamKey("ca978112", "p") == KnownKey(Secret("a"), KeySource.FILE, "p").key


def test_its_text_is_not_shown() -> None:
    """Not by `repr`, and not by the key that the rest of the server has."""
    known = KnownKey(Secret(TEXT), KeySource.STORE, "p", 1.0, "for tests")
    assert TEXT[:8] not in f"{known!r} {known} {known.key!r}"
