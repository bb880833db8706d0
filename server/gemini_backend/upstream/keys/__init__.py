"""The upstream's keys: where they come from, and which of them are in use."""

from __future__ import annotations

from gemini_backend.upstream.keys.key_set import KeySet
from gemini_backend.upstream.keys.key_sources import KeySources
from gemini_backend.upstream.keys.key_store import KeyStore, has_stored_keys
from gemini_backend.upstream.keys.known_key import KeySource, KnownKey

__all__ = [
    "KeySet",
    "KeySource",
    "KeySources",
    "KeyStore",
    "KnownKey",
    "has_stored_keys",
]
