"""The product's own parts and chain, put together over a clock that a test moves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gemini_backend.composition.assembly import assembled
from gemini_backend.composition.parts import parts_of
from gemini_backend.config import Secret, read
from gemini_backend.upstream.base import Provider, UpstreamFacts
from gemini_backend.upstream.keys import KeySet, KeySource, KnownKey
from tests.support.clock import FakeClock

if TYPE_CHECKING:
    from gemini_backend.clock import Clock
    from gemini_backend.composition.assembly import Assembly
    from gemini_backend.composition.parts import Parts
    from gemini_backend.policies.chain import Chain
    from gemini_backend.upstream.base import UpstreamModel


class NoUpstream:
    """Lists no models and answers nothing: tests put a handler of their own in its place."""

    def objection(self, _model: str) -> str:
        return ""

    def connections(self) -> int:
        return 0

    def reconfigure(self, _config: Any) -> None:
        """Take no settings."""

    async def models(self, _timeout_seconds: float) -> list[UpstreamModel]:
        return []

    async def process(self, _call: Any, _request: Any) -> Any:
        raise NotImplementedError

    stream = count_tokens = embed = process

    async def aclose(self) -> None:
        """Have nothing to close."""


def made_parts(clock: Clock | None = None, upstream: Any = None, **settings: str) -> Parts:
    """Return parts with these settings, `SECTION__FIELD="value"`; one key is known."""
    stated = {
        "SESSIONS__STORE": "memory",
        "REVISIONS__STORE": "memory",
        "AUDIT__ENABLED": "false",
        **settings,
    }
    environ = {f"GEMINI_BACKEND_{name}": value for name, value in stated.items()}
    provider = Provider(
        facts=UpstreamFacts("test", "http://127.0.0.1:1", "v1"),
        connect=lambda _clock, _keys, _bus: upstream or NoUpstream(),
        keys=KeySet([KnownKey(Secret("k"), KeySource.CONFIGURATION, "p")]),
    )
    return parts_of(read(None, environ), provider, clock or FakeClock())


def composed(
    clock: Clock | None = None, upstream: Any = None, **settings: str
) -> tuple[Parts, Assembly]:
    """Return parts with these settings, and what is assembled of them."""
    parts = made_parts(clock, upstream, **settings)
    return parts, assembled(parts)


def built_in_chain(**settings: str) -> Chain:
    """Return the chain with these settings, for tests that look at its rows."""
    return composed(**settings)[1].chain
