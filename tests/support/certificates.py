"""Certificates that say whatever a test wants, self-signed: who verifies them is not tested."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import cache
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

if TYPE_CHECKING:
    from collections.abc import Sequence

CN, O, OU = NameOID.COMMON_NAME, NameOID.ORGANIZATION_NAME, NameOID.ORGANIZATIONAL_UNIT_NAME  # noqa: E741 - as in a subject
DC = NameOID.DOMAIN_COMPONENT
BEGINS = datetime(2026, 1, 1, tzinfo=UTC)
EXPIRES = BEGINS + timedelta(days=365)

dns, email = x509.DNSName, x509.RFC822Name
uri = x509.UniformResourceIdentifier


@cache
def _key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def certificate(
    *subject: tuple[x509.ObjectIdentifier, str], sans: Sequence[x509.GeneralName] = ()
) -> x509.Certificate:
    """Return a certificate with this subject and these alternative names."""
    name = x509.Name([x509.NameAttribute(kind, text, _validate=False) for kind, text in subject])
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(_key().public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(BEGINS)
        .not_valid_after(EXPIRES)
    )
    if sans:
        builder = builder.add_extension(x509.SubjectAlternativeName(sans), critical=False)
    return builder.sign(_key(), hashes.SHA256())
