"""Certificates of peers, read: DER or PEM as a transport has verified it, to a `Certificate`."""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING

from cachetools import LRUCache
from cryptography import x509

from gemini_backend.errors import Unauthenticated
from gemini_backend.identity.credentials import Certificate

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_READ = 1000
"""Certificates that are kept as read; the one that was not used for longest goes first."""
MAX_SANS = 100
"""Most alternative names of a certificate; one with more is refused."""
MAX_SUBJECT_PARTS = 32
"""Most parts of a subject, of at most 512 characters; a certificate with more is refused."""

_PEM = b"-----BEGIN"
_HOST = re.compile(r"[A-Za-z0-9_*-]{1,63}(\.[A-Za-z0-9_*-]{1,63}){0,126}\.?")
_EMAIL = re.compile(r"[^\s@:/\x00-\x1f\x7f]{1,128}@[A-Za-z0-9.-]{1,255}")
_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]{0,31}://[^\s\x00-\x1f\x7f]{1,400}")
_ADDRESS = re.compile(r"[0-9A-Fa-f.:]{2,45}")  # no range, which only an authority has
_FORMS: dict[type[x509.GeneralName], re.Pattern[str]] = {
    x509.UniformResourceIdentifier: _URI,
    x509.RFC822Name: _EMAIL,
    x509.DNSName: _HOST,
    x509.IPAddress: _ADDRESS,
}
_MAX_CHARACTERS = 512


class CertificateReader:
    """Reads each certificate once, and keeps the latest of them by the digest of all its bytes."""

    def __init__(self) -> None:
        """Have read none."""
        self._read: LRUCache[bytes, Certificate] = LRUCache(MAX_READ)

    def read(self, encoded: bytes) -> Certificate:
        """Return what a certificate says.

        The transport must have verified it: nothing is verified here.

        Args:
            encoded: PEM, of which the first certificate is the peer's, or DER.

        Raises:
            Unauthenticated: it cannot be read, or has more names than `MAX_SANS`.
        """
        digest = hashlib.sha256(encoded).digest()
        found = self._read.get(digest)
        if found is None:
            found = self._read[digest] = _certificate(encoded)
        return found


def _certificate(encoded: bytes) -> Certificate:
    try:
        loaded = _loaded(encoded)
        attributes = tuple(_attributes(loaded.subject))
        sans = tuple(_sans(loaded))
        subject = loaded.subject.rfc4514_string()
        expires = loaded.not_valid_after_utc.timestamp()
    except (ValueError, TypeError, x509.DuplicateExtension, OverflowError) as error:
        msg = (
            "the client certificate cannot be read: its subject or its alternative names are not "
            "as RFC 5280 has them; present another certificate"
        )
        raise Unauthenticated(msg) from error
    longest = max((len(value) for _, value in attributes), default=0)
    if len(attributes) > MAX_SUBJECT_PARTS or len(sans) > MAX_SANS or longest > _MAX_CHARACTERS:
        msg = (
            f"the client certificate has more than {MAX_SUBJECT_PARTS} parts in its subject, or "
            f"more than {MAX_SANS} alternative names, or one of more than {_MAX_CHARACTERS} "
            "characters; present a smaller one"
        )
        raise Unauthenticated(msg)
    return Certificate(subject, attributes, sans, expires)


def _loaded(encoded: bytes) -> x509.Certificate:
    if encoded.startswith(_PEM):
        return x509.load_pem_x509_certificate(encoded)
    return x509.load_der_x509_certificate(encoded)


def _attributes(subject: x509.Name) -> Iterator[tuple[str, str]]:
    """Yield the subject's parts; one that is no text, which nothing can ask for, as empty."""
    for attribute in subject:
        value = attribute.value
        yield attribute.rfc4514_attribute_name, value if isinstance(value, str) else ""


def _sans(loaded: x509.Certificate) -> Iterator[str]:
    """Yield the names that have the form of their type.

    Others are left out: a host name that looks like a URI would be taken for one.
    """
    try:
        extension = loaded.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return
    for name in extension.value:
        form = _FORMS.get(type(name))
        text = str(name.value)
        if form is not None and form.fullmatch(text):
            yield text.rstrip(".").lower() if form is _HOST else text
