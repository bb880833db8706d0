"""Credentials become a principal, by whichever of the configured methods they belong to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from gemini_backend.errors import Unauthenticated
from gemini_backend.identity.credentials import KEY_PREFIX

if TYPE_CHECKING:
    from gemini_backend.identity.credentials import Certificate, Credentials
    from gemini_backend.principal import Principal


class Recognizer(Protocol):
    """Knows principals by a text that only they have."""

    def known(self, secret: str, /) -> Principal | None:
        """Return whose a text is, without waiting; None where it has to be verified."""
        ...

    async def verify(self, secret: str, /) -> Principal:
        """Return whose a text is.

        Raises:
            Unauthenticated: nobody's.
            ServiceError: it cannot be verified now.
        """
        ...


class Certified(Protocol):
    """Knows principals by their certificates."""

    def known(self, certificate: Certificate, /) -> Principal | None:
        """Return whose a certificate is, if it was asked for before; None otherwise."""
        ...

    def principal_of(self, certificate: Certificate, /) -> Principal:
        """Return whose a certificate is.

        Raises:
            Unauthenticated: nobody's.
        """
        ...


class Authenticator:
    """Asks the method that a credential belongs to; no other one is tried when it refuses."""

    def __init__(
        self,
        *,
        api_keys: Recognizer | None = None,
        tokens: Recognizer | None = None,
        certificates: Certified | None = None,
    ) -> None:
        """Accept the methods that are given."""
        self._api_keys = api_keys
        self._tokens = tokens
        self._certificates = certificates

    def known(self, credentials: Credentials) -> Principal | None:
        """Return whose credentials these are, if that is known without waiting."""
        bearer, api_key, certificate, _ = credentials
        secret = bearer or api_key
        if not secret:
            certified = self._certificates
            return certified.known(certificate) if certified and certificate else None
        if bearer and api_key:
            return None
        method = self._api_keys if secret.startswith(KEY_PREFIX) else self._tokens
        return None if method is None else method.known(secret)

    async def verify(self, credentials: Credentials) -> Principal:
        """Return whose credentials these are.

        Raises:
            Unauthenticated: nobody's; the message says how to authenticate here.
            ServiceError: they cannot be verified now.
        """
        bearer, api_key, certificate, _ = credentials
        if bearer and api_key:
            raise Unauthenticated("the call has both authorization and x-api-key; send one of them")
        secret = bearer or api_key
        if not secret:
            if certificate is not None and self._certificates is not None:
                return self._certificates.principal_of(certificate)
            raise Unauthenticated(f"the call has no credential; {self._how()}")
        method = self._api_keys if secret.startswith(KEY_PREFIX) else self._tokens
        if method is None:
            raise Unauthenticated(f"this kind of credential is not accepted; {self._how()}")
        return await method.verify(secret)

    def _how(self) -> str:
        """Say how to authenticate."""
        ways = [
            words
            for method, words in (
                (self._api_keys, "an API key of this server as `authorization: Bearer KEY`"),
                (self._tokens, "a JSON Web Token as `authorization: Bearer TOKEN`"),
                (self._certificates, "a client certificate that is known here"),
            )
            if method is not None
        ]
        return f"send {' or '.join(ways)}"
