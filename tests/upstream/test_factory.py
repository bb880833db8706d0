"""Which upstream the configuration chooses.

Covers: upstream/gemini/provider.py
"""

from __future__ import annotations

from typing import TYPE_CHECKING, get_args, get_type_hints

import pytest

from gemini_backend.config.sections.upstream import UpstreamOptions
from gemini_backend.upstream.factory import PROVIDERS, chosen, make
from tests.support.configs import load
from tests.support.upstreams.toy_upstream import Toy

if TYPE_CHECKING:
    from gemini_backend.config import Config
    from gemini_backend.upstream.base import Provider

OWN_ADDRESS = {"GEMINI_BACKEND_UPSTREAM__GEMINI__BASE_URL": "http://api.test"}
SIMULATOR = {"GEMINI_BACKEND_UPSTREAM__PROVIDER": "simulator"}
KEY = {"GEMINI_API_KEY": "k"}


def test_each_provider_that_can_be_set_has_a_row() -> None:
    """And no row stands there that cannot be set."""
    assert set(get_args(get_type_hints(UpstreamOptions)["provider"])) == set(PROVIDERS)


@pytest.mark.parametrize(
    ("environ", "provider"),
    [
        (KEY, "gemini"),
        ({}, "simulator"),
        (OWN_ADDRESS, "gemini"),
        ({**KEY, **SIMULATOR}, "simulator"),
    ],
)
def test_the_simulator_answers_when_asked_for_or_for_want_of_a_key(
    environ: dict[str, str], provider: str
) -> None:
    """An address of one's own without a key is no reason: that may be a mistake."""
    assert provider == chosen(load(None, environ))


async def test_a_row_is_all_that_makes_another_upstream(monkeypatch: pytest.MonkeyPatch) -> None:
    """The provider is made by the row that the configuration names."""
    toy = Toy()

    async def row(_config: Config) -> Provider:
        return toy.provider

    monkeypatch.setitem(PROVIDERS, "gemini", row)
    assert toy.provider is await make(load(None, KEY))


async def test_gemini_is_known_by_its_facts_and_keys() -> None:
    """Its keys by their digests alone, each with its project."""
    settings = {"API_KEYS": "a,b", "KEY_PROJECTS": "p,q", "MAX_CONNECTIONS": "7"}
    environ = {f"GEMINI_BACKEND_UPSTREAM__GEMINI__{name}": text for name, text in settings.items()}
    provider = await make(load(None, environ))
    facts, keys = provider.facts, provider.keys
    assert keys is not None
    assert ("gemini", "v1beta", 2, 7, "") == (
        facts.provider,
        facts.api_version,
        len(keys),
        facts.max_connections,
        facts.proxy,
    )
    # the beginnings of sha256(b"a") and sha256(b"b")
    assert [("ca978112", "p"), ("3e23e816", "q")] == [
        (one.key_id, one.project) for one in keys.keys
    ]
    assert provider.follows_sources


async def test_the_simulator_is_started_and_ended_with_its_provider() -> None:
    """It has an address of this machine, and its key is no key of anybody's."""
    provider = await make(load(None, SIMULATOR))
    try:
        assert ("simulator", False) == (provider.facts.provider, provider.follows_sources)
        assert provider.facts.base_url.startswith("http://127.0.0.1:")
    finally:
        await provider.aclose()
