"""Who was let in, who was not, and whose credential has ended."""

from __future__ import annotations

from gemini_backend.telemetry.events.event import Event


class AuthenticationRefused(Event, frozen=True):
    """A caller could not be authenticated.

    Attributes:
        peer: Its network address.
        action: Path of the RPC, or of the page.
        why: In words, without anything of the credential.
    """

    peer: str
    action: str
    why: str


class AccessRefused(Event, frozen=True):
    """A principal lacks the role that an act requires."""

    tenant: str
    principal: str
    peer: str
    action: str
    why: str


class CredentialEnded(Event, frozen=True):
    """An API key was revoked: calls under way that used it end.

    Attributes:
        api_key: Its id.
        why: In words, for the callers whose calls end.
    """

    api_key: str
    why: str
