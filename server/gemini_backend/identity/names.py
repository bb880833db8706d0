"""Names of tenants and principals: which texts are names, and what others are called.

A name that comes from outside and is none is made one: by what of it is allowed, and a digest of
the whole. So two texts never have one name: no text that is a name by itself ends like a digest.
"""

from __future__ import annotations

import hashlib
import re

DEFAULT_TENANT = "default"

# as in key_service.proto
_TENANT = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_PRINCIPAL = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.@-]{0,63}")
_MADE = re.compile(r".*-x[0-9a-f]{24}", re.DOTALL)
_NOT_IN_TENANT = re.compile(r"[^A-Za-z0-9_.-]+")
_NOT_IN_PRINCIPAL = re.compile(r"[^A-Za-z0-9_.@-]+")
_DIGITS = 24
_READABLE = 64 - len("-x") - _DIGITS


def is_tenant(text: str) -> bool:
    """Say whether a text is the name of a tenant: 1 to 64 letters, digits and `_ . -`."""
    return _TENANT.fullmatch(text) is not None


def is_principal(text: str) -> bool:
    """Say whether a text is the name of a principal: as a tenant's, and `@` as well."""
    return _PRINCIPAL.fullmatch(text) is not None


def tenant_of(text: str) -> str:
    """Return the text where it is a tenant's name, otherwise a name that is only its own."""
    return text if is_tenant(text) and not _MADE.fullmatch(text) else _made(text, _NOT_IN_TENANT)


def principal_of(text: str) -> str:
    """Return the text where it is a principal's name, otherwise a name that is only its own."""
    fits = is_principal(text) and not _MADE.fullmatch(text)
    return text if fits else _made(text, _NOT_IN_PRINCIPAL)


def _made(text: str, foreign: re.Pattern[str]) -> str:
    """Return `READABLE-xDIGEST`."""
    readable = foreign.sub("-", text).lstrip("_.@-")[:_READABLE] or "x"
    digest = hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:_DIGITS]
    return f"{readable}-x{digest}"
