"""Who may call: what principals are known by, and the guard of the doors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gemini_backend.identity.authenticator import Authenticator
from gemini_backend.identity.guard import Guard
from gemini_backend.identity.slowing import Slowing
from gemini_backend.rpc.guard import RpcGuard
from gemini_backend.rpc.peers import peer_certificate as rpc_peer
from gemini_backend.telemetry.events import CredentialEnded
from gemini_backend.web.guard import guarding
from gemini_backend.web.peer_certificate import peer_certificate as web_peer

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from aiohttp.typedefs import Middleware

    from gemini_backend.clock import Clock
    from gemini_backend.composition.parts import Parts
    from gemini_backend.config.sections.auth import JwtOptions, MtlsOptions
    from gemini_backend.identity.certificate_reading import CertificateReader
    from gemini_backend.identity.certificates import Certificates
    from gemini_backend.identity.tokens import Tokens
    from gemini_backend.telemetry.health.health_report import Component


@dataclass(frozen=True, slots=True)
class Identity:
    """The guard, and what it knows principals by.

    Attributes:
        guard: Asked by every door; None where everybody is the anonymous admin.
        tokens: Knows tokens; None where they are not accepted.
        certificates: Reads certificates; None where they do not say who calls.
    """

    guard: Guard | None
    tokens: Tokens | None = None
    certificates: CertificateReader | None = None

    def components(self) -> list[Callable[[], Component]]:
        """Return what judges the health of it."""
        return [] if self.tokens is None else [self.tokens.component]

    async def start(self) -> None:
        """Begin to read what credentials are verified by.

        Raises:
            ConfigError: it cannot be used.
        """
        if self.tokens is not None:
            await self.tokens.start()

    async def aclose(self) -> None:
        """Stop reading it."""
        if self.tokens is not None:
            await self.tokens.aclose()


def identity_of(parts: Parts, environ: Mapping[str, str]) -> Identity:
    """Return who may call, by `auth`.

    Args:
        parts: What the server is made of.
        environ: May name a proxy on the way to the issuer of tokens.

    Raises:
        ConfigError: the configuration cannot be carried out.
    """
    base, config = parts.base, parts.base.config
    methods, auth = config.auth_methods, config.auth
    if not methods:
        return Identity(None)
    tokens = certificates = reader = None
    if "jwt" in methods:
        tokens = _tokens_of(auth.jwt, base.clock, base.wall, environ)
    if "mtls" in methods:
        certificates, reader = _certificates_of(auth.mtls, base.wall)
    authenticator = Authenticator(
        api_keys=parts.kept.api_keys if "api_key" in methods else None,
        tokens=tokens,
        certificates=certificates,
    )
    base.bus.subscribe(
        CredentialEnded, lambda ended: base.running.cut_short_of(ended.api_key, ended.why)
    )
    guard = Guard(authenticator, auth.open, Slowing(auth, base.clock), base.bus)
    return Identity(guard, tokens, reader)


def _tokens_of(
    options: JwtOptions, clock: Clock, wall: Callable[[], float], environ: Mapping[str, str]
) -> Tokens:
    """Return what knows tokens; its libraries are loaded only where it is needed."""
    from gemini_backend.identity.tokens import Tokens

    return Tokens.of(options, clock, wall, environ)


def _certificates_of(
    options: MtlsOptions, wall: Callable[[], float]
) -> tuple[Certificates, CertificateReader]:
    """Return what knows certificates, and what reads them; loaded only where needed as well."""
    from gemini_backend.identity.certificate_reading import CertificateReader
    from gemini_backend.identity.certificates import Certificates

    return Certificates(options, wall), CertificateReader()


def rpc_guard_of(identity: Identity) -> RpcGuard | None:
    """Return the guard of gRPC's door; None where everybody may."""
    reader = identity.certificates
    if identity.guard is None:
        return None
    if reader is None:
        return RpcGuard(identity.guard, None)
    return RpcGuard(identity.guard, lambda context: rpc_peer(context, reader))


def web_guard_of(identity: Identity) -> Middleware:
    """Return the guard of the pages."""
    reader = identity.certificates
    if reader is None:
        return guarding(identity.guard)
    return guarding(identity.guard, lambda request: web_peer(request.transport, reader))
