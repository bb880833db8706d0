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
    assert ("gemini", "v1beta", 2, 7, "") == (
        facts.provider,
        facts.api_version,
        facts.key_count,
        facts.max_connections,
        facts.proxy,
    )
    assert [(0, "p"), (1, "q")] == [(key.index, key.project) for key in keys or ()]
    assert "ca978112" == (keys or ())[0].key_id  # the beginning of sha256(b"a")


async def test_the_simulator_is_started_and_ended_with_its_provider() -> None:
    """It has an address of this machine, and its key is no key of anybody's."""
    provider = await make(load(None, SIMULATOR))
    try:
        assert ("simulator", 0) == (provider.facts.provider, provider.facts.key_count)
        assert provider.facts.base_url.startswith("http://127.0.0.1:")
    finally:
        await provider.aclose()
