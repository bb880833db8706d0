"""Which certificates an entry of `auth.mtls.principals` is for.

A subject with a `=` is a whole distinguished name: the certificate has exactly these parts. Parts
of different types may come in any order, those of one type in that of the certificate. A subject
without `=` is the common name of a certificate that has only one. `*` stands for any characters
within one value of a subject. In an alternative name it stands for one part: of a URI what is
between slashes, of an e-mail address one side of the `@`, of a host what is between dots. A URI is
only compared with URIs, and so on, since each name has the form of its type.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Protocol

from cryptography import x509
from cryptography.x509.oid import NameOID

from gemini_backend.config.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable

    from gemini_backend.config.sections.auth import CertificateOptions
    from gemini_backend.identity.credentials import Certificate

_WHERE = "auth.mtls.principals"
# What openssl prints beside the names of RFC 4514.
_NAMES = {
    "emailAddress": NameOID.EMAIL_ADDRESS,
    "serialNumber": NameOID.SERIAL_NUMBER,
    "title": NameOID.TITLE,
    "GN": NameOID.GIVEN_NAME,
    "SN": NameOID.SURNAME,
}
_PARTS = "[^\\x00-\\x1f\\x7f]*"  # what `*` stands for within a value of a subject
# What `*` stands for in an alternative name: a part of it, never two.
_IN_URI, _IN_EMAIL, _IN_HOST = "[^/]+", "[^@]+", "[^.:]+"


class Matches(Protocol):
    """Says by which of a certificate's names an entry fits it; None where it does not."""

    def __call__(self, certificate: Certificate, /) -> str | None:
        """Return the name."""
        ...


def matcher_of(entry: CertificateOptions) -> Matches:
    """Return what tells the certificates of an entry.

    Raises:
        ConfigError: `subject` has a `=` and is no distinguished name.
    """
    if entry.san:
        return _by_san(entry.san)
    if "=" in entry.subject:
        return _by_whole_subject(entry.subject)
    return _by_common_name(entry.subject)


def _by_san(text: str) -> Matches:
    kind = _kind(text)
    fits = _pattern(text if kind is not _IN_HOST else text.lower().rstrip("."), kind)

    def matches(certificate: Certificate, /) -> str | None:
        return next((san for san in certificate.sans if _kind(san) is kind and fits(san)), None)

    return matches


def _kind(san: str) -> str:
    """Return what `*` stands for in names of this form."""
    if "://" in san:
        return _IN_URI
    return _IN_EMAIL if "@" in san else _IN_HOST


def _by_common_name(text: str) -> Matches:
    fits = _pattern(text, _PARTS)

    def matches(certificate: Certificate, /) -> str | None:
        names = certificate.values("CN")
        return names[0] if len(names) == 1 and fits(names[0]) else None

    return matches


def _by_whole_subject(text: str) -> Matches:
    wanted: dict[str, list[Callable[[str], object]]] = {}
    for kind, value in _parsed(text):
        wanted.setdefault(kind, []).append(_pattern(value, _PARTS))
    number = sum(map(len, wanted.values()))

    def matches(certificate: Certificate, /) -> str | None:
        if len(certificate.attributes) != number:
            return None
        for kind, patterns in wanted.items():
            values = certificate.values(kind)
            if len(values) != len(patterns):
                return None
            if not all(fits(value) for fits, value in zip(patterns, values, strict=True)):
                return None
        names = certificate.values("CN")
        return names[0] if len(names) == 1 else certificate.subject

    return matches


def _parsed(text: str) -> list[tuple[str, str]]:
    try:
        name = x509.Name.from_rfc4514_string(text, _NAMES)
    except ValueError as error:
        msg = (
            f"{_WHERE}: subject {text!r} is not a distinguished name as in RFC 4514, such as "
            "CN=alice,O=Acme; write \\, for a comma within a value, or give the common name alone"
        )
        raise ConfigError.at(msg, _WHERE) from error
    return [(one.rfc4514_attribute_name, str(one.value)) for one in name]


def _pattern(text: str, star: str) -> Callable[[str], object]:
    """Return what says whether a name fits; no `*` is tried at a second place, so it is quick."""
    first, *rest = map(re.escape, text.split("*"))
    if not rest:
        return text.__eq__
    between = "".join(f"(?>{star}?{part})" for part in rest[:-1])
    return re.compile(f"{first}{between}{star}{rest[-1]}").fullmatch
