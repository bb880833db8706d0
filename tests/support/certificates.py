"""Certificates that say whatever a test wants, self-signed or issued by an authority."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import cache
from typing import TYPE_CHECKING, Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import NameOID

if TYPE_CHECKING:
    from collections.abc import Sequence

    import trustme

CN, O, OU = NameOID.COMMON_NAME, NameOID.ORGANIZATION_NAME, NameOID.ORGANIZATIONAL_UNIT_NAME  # noqa: E741 - as in a subject
DC = NameOID.DOMAIN_COMPONENT
BEGINS = datetime(2020, 1, 1, tzinfo=UTC)
EXPIRES = BEGINS + timedelta(days=36_500)

dns, email = x509.DNSName, x509.RFC822Name
uri = x509.UniformResourceIdentifier


@cache
def _key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def certificate(
    *subject: tuple[x509.ObjectIdentifier, str], sans: Sequence[x509.GeneralName] = ()
) -> x509.Certificate:
    """Return a self-signed certificate with this subject and these alternative names."""
    return _signed(_name(subject), _name(subject), sans, _key())


def issued(
    authority: trustme.CA,
    *subject: tuple[x509.ObjectIdentifier, str],
    sans: Sequence[x509.GeneralName] = (),
) -> tuple[bytes, bytes]:
    """Return the key and the certificate that an authority issues for these names, as PEM."""
    issuer = x509.load_pem_x509_certificate(authority.cert_pem.bytes())
    key: Any = load_pem_private_key(authority.private_key_pem.bytes(), None)
    made = _signed(_name(subject), issuer.subject, sans, key)
    own = _key().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return own, made.public_bytes(Encoding.PEM)


def _name(subject: Sequence[tuple[x509.ObjectIdentifier, str]]) -> x509.Name:
    return x509.Name([x509.NameAttribute(kind, text, _validate=False) for kind, text in subject])


def _signed(
    subject: x509.Name,
    issuer: x509.Name,
    sans: Sequence[x509.GeneralName],
    key: ec.EllipticCurvePrivateKey,
) -> x509.Certificate:
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(_key().public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(BEGINS)
        .not_valid_after(EXPIRES)
    )
    if sans:
        builder = builder.add_extension(x509.SubjectAlternativeName(sans), critical=False)
    return builder.sign(key, hashes.SHA256())
