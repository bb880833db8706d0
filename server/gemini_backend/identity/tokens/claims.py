"""Whether a token is for this server, from its issuer, and in its time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gemini_backend.errors import Unauthenticated
from gemini_backend.identity.tokens.parsing import malformed

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gemini_backend.config.sections.auth import JwtOptions

_LAST = 253_402_300_799  # the end of the year 9999, up to which a Timestamp goes


def check_claims(claims: Mapping[str, Any], options: JwtOptions, now: float) -> float:
    """Return when a token expires, in seconds since the epoch, without leeway.

    Raises:
        Unauthenticated: issuer or audience is another one; it has expired or is not valid yet; a
            required claim is missing, or one is not of its type.
    """
    _check_issuer(claims, options)
    expires = _time(claims, "exp")
    if expires is None:
        raise _missing("exp")
    if now >= expires + options.leeway_seconds:
        raise Unauthenticated("the token has expired; ask the issuer for a new one")
    for name in ("nbf", "iat"):
        begins = _time(claims, name)
        if begins is not None and now < begins - options.leeway_seconds:
            msg = (
                f"the token is not valid yet: its {name} is in the future; wait, or set the clocks "
                "of issuer and server"
            )
            raise Unauthenticated(msg)
    return expires


def _check_issuer(claims: Mapping[str, Any], options: JwtOptions) -> None:
    issuer = claims.get("iss")
    if issuer is None:
        raise _missing("iss")
    if type(issuer) is not str or issuer != options.issuer:
        msg = "the token's issuer (iss) is not accepted here; use one of the configured issuer"
        raise Unauthenticated(msg)
    audience = claims.get("aud")
    if audience is None:
        raise _missing("aud")
    listed = [audience] if type(audience) is str else audience
    if type(listed) is not list or not all(type(one) is str for one in listed):
        raise malformed("its aud is neither a text nor a list of texts")
    if not set(listed) & set(options.audiences):
        msg = "the token is for another audience (aud); ask the issuer for one for this server"
        raise Unauthenticated(msg)


def _time(claims: Mapping[str, Any], name: str) -> float | None:
    """Return a time; None where there is none."""
    if name not in claims:
        return None
    value = claims[name]
    # a text or a truth value is no time, whatever number it could stand for
    if type(value) not in (int, float) or not 0 <= value <= _LAST:
        raise malformed(f"its {name} is not a number of seconds since 1970")
    return float(value)


def _missing(name: str) -> Unauthenticated:
    return Unauthenticated(f"the token has no {name}; ask the issuer for one that has")
