"""Client certificates to principals."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cachetools import LRUCache

from gemini_backend.errors import Unauthenticated
from gemini_backend.identity.names import DEFAULT_TENANT, principal_of, tenant_of
from gemini_backend.identity.subject_patterns import matcher_of
from gemini_backend.principal import AuthMethod, Principal, Role, granted

if TYPE_CHECKING:
    from collections.abc import Callable

    from gemini_backend.config.sections.auth import CertificateOptions, MtlsOptions
    from gemini_backend.identity.credentials import Certificate

MAX_KNOWN = 1000
"""Certificates whose principals are kept; the one that was not used for longest goes first."""


class Certificates:
    """The principals of certificates, by `auth.mtls`."""

    def __init__(self, options: MtlsOptions, wall: Callable[[], float]) -> None:
        """Know none yet; `wall` gives seconds since the epoch.

        Raises:
            ConfigError: an entry of `auth.mtls.principals` has a subject that is none.
        """
        self._entries = [(entry, matcher_of(entry)) for entry in options.principals]
        self._default = options.default_role
        self._wall = wall
        self._known: LRUCache[Certificate, Principal] = LRUCache(MAX_KNOWN)

    def known(self, certificate: Certificate) -> Principal | None:
        """Return the principal of a certificate that was asked for before and has not expired."""
        found = self._known.get(certificate)
        return found if found is not None and not self._expired(certificate) else None

    def principal_of(self, certificate: Certificate) -> Principal:
        """Return the principal of a certificate that the transport has verified.

        The same object for the same certificate, as long as it is one of the latest `MAX_KNOWN`.

        Raises:
            Unauthenticated: it has expired since its connection was opened; no entry fits it and
                there is no default role; or it has no name at all.
        """
        if self._expired(certificate):
            msg = "the client certificate has expired; connect again with a renewed one"
            raise Unauthenticated(msg)
        found = self._known.get(certificate)
        if found is None:
            found = self._known[certificate] = self._made(certificate)
        return found

    def _expired(self, certificate: Certificate) -> bool:
        return certificate.expires is not None and certificate.expires <= self._wall()

    def _made(self, certificate: Certificate) -> Principal:
        for entry, matches in self._entries:
            name = matches(certificate)
            if name is not None:
                return _of_entry(entry, name, certificate.expires)
        if not self._default:
            msg = (
                "the client certificate is not known here; present another one, or ask the "
                "operator for an entry in auth.mtls.principals"
            )
            raise Unauthenticated(msg)
        return Principal(
            tenant=_tenant(certificate),
            name=principal_of(_name(certificate)),
            roles=granted(Role(self._default)),
            method=AuthMethod.MTLS,
            expires=certificate.expires,
        )


def _of_entry(entry: CertificateOptions, name: str, expires: float | None) -> Principal:
    return Principal(
        tenant=entry.tenant,
        name=entry.name or principal_of(name),
        roles=granted(*map(Role, entry.roles)),
        models=entry.allowed_models,
        method=AuthMethod.MTLS,
        expires=expires,
    )


def _tenant(certificate: Certificate) -> str:
    """Return the organization as a tenant; several together are one of their own."""
    organizations = certificate.values("O")
    return tenant_of("\0".join(organizations)) if organizations else DEFAULT_TENANT


def _name(certificate: Certificate) -> str:
    """Return the first URI, else e-mail address, else host, else common name, else the subject.

    Raises:
        Unauthenticated: there is none of these.
    """
    sans = certificate.sans
    kinds = ("://", "@", "")
    for mark in kinds:
        for san in sans:
            if mark in san:
                return san
    names = certificate.values("CN")
    name = names[0] if len(names) == 1 else certificate.subject
    if not name:
        msg = "the client certificate has neither subject nor alternative names; present another"
        raise Unauthenticated(msg)
    return name
