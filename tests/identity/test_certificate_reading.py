"""What is read of a peer's certificate."""

from __future__ import annotations

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from gemini_backend.errors import Unauthenticated
from gemini_backend.identity import certificate_reading
from gemini_backend.identity.certificate_reading import MAX_SANS, CertificateReader
from gemini_backend.identity.credentials import Certificate
from tests.support.certificates import CN, DC, EXPIRES, O, certificate, dns, email, uri


def read(made: x509.Certificate) -> Certificate:
    """Return what is read of it."""
    return CertificateReader().read(made.public_bytes(Encoding.DER))


def test_a_certificate_is_read() -> None:
    """Subject, alternative names and the end of its life; from PEM as from DER."""
    made = certificate(
        (O, "Acme, Inc"),
        (CN, "alice"),
        sans=[uri("spiffe://acme/alice"), email("a@acme.com"), dns("Alice.Acme.com")],
    )
    expected = Certificate(
        "CN=alice,O=Acme\\, Inc",
        (("O", "Acme, Inc"), ("CN", "alice")),
        ("spiffe://acme/alice", "a@acme.com", "alice.acme.com"),
        EXPIRES.timestamp(),
    )
    assert expected == read(made)
    assert expected == CertificateReader().read(made.public_bytes(Encoding.PEM))


def test_the_first_of_a_chain_is_read() -> None:
    """What follows the peer's own certificate is its issuer's."""
    own, issuer = certificate((CN, "alice")), certificate((CN, "authority"))
    chain = own.public_bytes(Encoding.PEM) + issuer.public_bytes(Encoding.PEM)
    assert ("alice",) == CertificateReader().read(chain).values("CN")


def test_a_certificate_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same bytes give the same object; one byte more is another certificate, or none."""
    reader, made = CertificateReader(), certificate((CN, "alice")).public_bytes(Encoding.DER)
    assert reader.read(made) is reader.read(bytes(bytearray(made)))
    with pytest.raises(Unauthenticated):
        reader.read(made + b"\0")
    with pytest.raises(Unauthenticated):
        reader.read(made[:-1])


def test_what_is_kept_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The certificate that was not used for longest goes first."""
    monkeypatch.setattr(certificate_reading, "MAX_READ", 2)
    reader = CertificateReader()
    for name in ("a", "b", "c"):
        reader.read(certificate((CN, name)).public_bytes(Encoding.DER))
    assert 2 == len(reader._read)


@pytest.mark.parametrize(
    "value", ["x,O=Acme,CN=admin", "x/O=Acme/CN=admin", "x+CN=admin", "admin\0.evil.com", "=", '"']
)
def test_a_value_cannot_pretend_to_be_parts(value: str) -> None:
    """Whatever a value has, commas or NULs, it is one value, and whole."""
    found = read(certificate((CN, value)))
    assert (("CN", value),) == found.attributes
    assert x509.Name.from_rfc4514_string(found.subject).rfc4514_string() == found.subject


def test_several_values_of_a_type_are_all_there() -> None:
    """Neither the first nor the last common name hides another."""
    found = read(certificate((DC, "com"), (CN, "users"), (CN, "bob")))
    assert ("users", "bob") == found.values("CN")


@pytest.mark.parametrize(
    "san",
    [
        dns("spiffe://acme/admin"),
        dns("admin@acme.com"),
        dns("admin.acme.com\0.evil.com"),
        email("spiffe://acme/admin"),
        email("admin@acme.com\n"),
        uri("admin.acme.com"),
        uri("admin@acme.com"),
        uri("spiffe://acme/admin\0"),
        dns(""),
    ],
)
def test_a_name_in_the_form_of_another_type_is_left_out(san: x509.GeneralName) -> None:
    """A host that looks like a URI is neither host nor URI; the same for the others."""
    assert () == read(certificate((CN, "x"), sans=[san])).sans


@pytest.mark.parametrize("encoded", [b"", b"-----BEGIN CERTIFICATE-----\n", b"\x30\x00", b"x" * 99])
def test_what_is_no_certificate_is_refused(encoded: bytes) -> None:
    """Bytes that cannot be read are a failed authentication, not an unexpected error."""
    with pytest.raises(Unauthenticated):
        CertificateReader().read(encoded)


def test_a_certificate_with_too_many_names_is_refused() -> None:
    """More alternative names, parts, or characters than the bounds: refused."""
    many = [dns(f"h{number}.example.com") for number in range(MAX_SANS + 1)]
    for made in (
        certificate((CN, "x"), sans=many),
        certificate(*((CN, str(number)) for number in range(40))),
        certificate((DC, "x" * 600)),
    ):
        with pytest.raises(Unauthenticated):
            read(made)
