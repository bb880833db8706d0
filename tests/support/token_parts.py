"""What verifies tokens in tests: a source of keys that a test changes, and time that it moves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from gemini_backend.config.sections.auth import JwtOptions
from gemini_backend.identity.tokens import Tokens
from gemini_backend.identity.tokens.current_keys import CurrentKeys
from gemini_backend.identity.tokens.key_set import UnusableKeysError
from tests.support.clock import FakeClock, settle
from tests.support.issuer import AUDIENCE, ISSUER, Signer, document, signer

if TYPE_CHECKING:
    import asyncio

    from gemini_backend.principal import Principal

NOW = 1_800_000_000.0


class ScriptedKeys:
    """Publishes what a test says; `held` keeps its answers back."""

    name, seconds = "https://issuer.example.com/keys", 300.0

    def __init__(self, *signers: Signer) -> None:
        self.document: bytes | Exception = document(*signers)
        self.reads = 0
        self.held: asyncio.Event | None = None

    async def read(self) -> bytes:
        self.reads += 1
        if self.held is not None:
            await self.held.wait()
        if isinstance(self.document, Exception):
            raise self.document
        return self.document

    def publish(self, *signers: Signer) -> None:
        self.document = document(*signers)

    def fail(self, why: str = "no connection") -> None:
        self.document = UnusableKeysError(why)


class Stage:
    """Tokens with everything that they need, started."""

    def __init__(self, *signers: Signer, **options: Any) -> None:
        self.clock = FakeClock()
        self.source = ScriptedKeys(*(signers or (signer(),)))
        fields = {
            "issuer": ISSUER,
            "audiences": (AUDIENCE,),
            "jwks_url": self.source.name,
            "algorithms": ("RS256", "ES256", "ES384", "EdDSA"),
            **options,
        }
        self.options = JwtOptions(**fields)
        self.keys = CurrentKeys(self.source, self.options, self.clock)
        self.tokens = Tokens(self.options, self.keys, self.wall)

    def wall(self) -> float:
        """Return the time of day."""
        return NOW + self.clock.now() - 1000.0

    async def __aenter__(self) -> Self:
        await self.tokens.start()
        await settle()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.tokens.aclose()

    async def verify(self, token: str) -> Principal:
        """Verify a token."""
        return await self.tokens.verify(token)
