"""What a caller presents to say who it is, whichever door it came by."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")
_SCHEME = "bearer "


class Certificate(NamedTuple):
    """A client certificate that the transport has verified.

    Attributes:
        subject: Distinguished name by RFC 4514, as `CN=alice,O=Acme`, for showing only; empty for
            none.
        attributes: Type and value of each part of the subject, in its order: `CN`, `O`, others by
            their short name or OID. A type may occur several times.
        sans: Its subject alternative names: DNS names in small letters, e-mail addresses, URIs
            and IP addresses; each has the form of its type.
        expires: When it expires, seconds since the epoch; None where unknown.
    """

    subject: str = ""
    attributes: tuple[tuple[str, str], ...] = ()
    sans: tuple[str, ...] = ()
    expires: float | None = None

    def values(self, kind: str) -> tuple[str, ...]:
        """Return the values of one type in the subject, such as `CN`."""
        return tuple(value for type_, value in self.attributes if type_ == kind)


class Credentials(NamedTuple):
    """All that one call presents.

    Attributes:
        bearer: What `authorization` has after `Bearer`; empty for none.
        api_key: What `x-api-key` has; empty for none.
        certificate: The peer's certificate; None for none.
        peer: The peer's host, to slow down those who fail; empty where unknown.
    """

    bearer: str = ""
    api_key: str = ""
    certificate: Certificate | None = None
    peer: str = ""


def presented(
    authorization: str,
    api_key: str,
    certificate_of: Callable[[T], Certificate | None] | None,
    source: T,
    peer: str,
) -> Credentials:
    """Return what one call presents; a certificate counts where there is nothing else.

    Args:
        authorization: The header; empty for none.
        api_key: The header `x-api-key`; empty for none.
        certificate_of: Returns the certificate of a peer; None where none counts.
        source: What it is asked with.
        peer: The peer's host; empty where unknown.
    """
    bearer = authorization
    if bearer[: len(_SCHEME)].lower() == _SCHEME:
        bearer = bearer[len(_SCHEME) :].strip()
    certificate = None
    if certificate_of is not None and not (bearer or api_key):
        certificate = certificate_of(source)
    return Credentials(bearer, api_key, certificate, peer)


KEY_PREFIX = "gbk_"
"""How every secret of an API key of this server begins; a bearer that does is no JWT."""
