"""JSON Web Tokens of one issuer, verified by the keys that it publishes (JWKS)."""

from __future__ import annotations

from gemini_backend.identity.tokens.tokens import Tokens

__all__ = ["Tokens"]
