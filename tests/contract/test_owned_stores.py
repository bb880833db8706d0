"""What is kept for one owner is found by nobody else: every store passes this test.

A new store is added to `STORES` of `tests/support/owned_stores.py`.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gemini_backend.principal import Principal
from tests.support.owned_stores import STORES

if TYPE_CHECKING:
    from tests.support.owned_stores import OwnedStore

# Texts that are the same only if they are put together carelessly.
PRINCIPALS = [
    Principal(tenant, name)
    for tenant, name in (
        ("acme", "ann"),
        ("acme", "bob"),
        ("other", "ann"),
        ("acme/ann", ""),
        ("acme", "ann/"),
        ("Acme", "ann"),
        ("acme", "Ann"),
        ("", "acme/ann"),
        ("default", "anonymous"),
        ("acm", "e/ann"),
        ("acme%", "%"),
        ("acme_", "_"),
    )
]
NAMES = ["executions/a.0", "executions/b.0", "a", "b", "%", "_", "a.b"]
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["add", "add", "remove"]),
        st.sampled_from(PRINCIPALS),
        st.sampled_from(NAMES),
    ),
    max_size=12,
)


async def _run(kind: type[OwnedStore], steps: list[tuple[str, Principal, str]]) -> None:
    store = kind()
    kept: set[tuple[object, str]] = set()

    def key(who: Principal, name: str) -> tuple[object, str]:
        return (who.tenant if store.by_tenant else who.owner), name

    for what, who, name in steps:
        taken = {one[1] for one in kept} if store.unique else ()
        if what == "add" and key(who, name) not in kept and name not in taken:
            await store.add(who, name)
            kept.add(key(who, name))
        elif what == "remove":
            removed = await store.remove(who, name)
            assert removed in (None, key(who, name) in kept)
            if removed:
                kept.discard(key(who, name))
    for who in PRINCIPALS:
        own = {name for name in NAMES if key(who, name) in kept}
        found = {name for name in NAMES if await store.finds(who, name)}
        assert own == found
        assert await store.names(who) in (None, own)
    await store.aclose()


@pytest.mark.parametrize("kind", STORES, ids=lambda kind: kind.__name__)
@settings(max_examples=25, deadline=None)
@given(steps=STEPS)
def test_only_its_owner_finds_what_is_kept(
    kind: type[OwnedStore], steps: list[tuple[str, Principal, str]]
) -> None:
    """By name and in lists, whatever anybody has added and removed; nor can others remove it."""
    asyncio.run(_run(kind, steps))
