"""Certificates become principals.

Covers: identity/subject_patterns.py, identity/credentials.py
"""

from __future__ import annotations

import time

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from gemini_backend.config import ConfigError
from gemini_backend.config.sections.auth import CertificateOptions, MtlsOptions
from gemini_backend.errors import Unauthenticated
from gemini_backend.identity.certificate_reading import CertificateReader
from gemini_backend.identity.certificates import Certificates
from gemini_backend.identity.credentials import Certificate
from gemini_backend.principal import AuthMethod, Owner, Principal, Role, granted
from tests.support.certificates import CN, DC, OU, certificate

NOW = 1_800_000_000.0


def cert(*parts: tuple[str, str], sans: tuple[str, ...] = ()) -> Certificate:
    """Return a certificate with this subject."""
    subject = ",".join(f"{kind}={value}" for kind, value in reversed(parts))
    return Certificate(subject, parts, sans, NOW + 60)


def owner(certificate: Certificate, *entries: CertificateOptions, role: str = "caller") -> Owner:
    """Return whom a certificate belongs to."""
    options = MtlsOptions(principals=entries, default_role=role)  # type: ignore[arg-type]
    return Certificates(options, lambda: NOW).principal_of(certificate).owner


def entry(**fields: object) -> CertificateOptions:
    """Return an entry that names its tenant and principal."""
    return CertificateOptions(**{"tenant": "found", "name": "it", **fields})  # type: ignore[arg-type]


def fits(certificate: Certificate, **fields: object) -> bool:
    """Say whether an entry fits."""
    return Owner("found", "it") == owner(certificate, entry(**fields))


ALICE = cert(("O", "Acme"), ("CN", "alice"))


def test_an_entry_says_who_a_certificate_is() -> None:
    """Tenant, name, roles and models are those of the first entry that fits."""
    first = CertificateOptions(
        tenant="t", subject="alice", name="n", roles=("operator",), allowed_models=("models/a",)
    )
    found = Certificates(MtlsOptions(principals=(first, entry(subject="*"))), lambda: NOW)
    expected = Principal(
        "t",
        "n",
        granted(Role.OPERATOR),
        ("models/a",),
        method=AuthMethod.MTLS,
        expires=NOW + 60,
    )
    assert expected == found.principal_of(ALICE)
    assert found.principal_of(ALICE) is found.principal_of(ALICE)


@pytest.mark.parametrize(
    ("subject", "expected"),
    [
        ("alice", True),
        ("al*", True),
        ("*", True),
        ("a*l*e", True),
        ("Alice", False),
        ("alic", False),
        ("lice", False),
        ("CN=alice,O=Acme", True),
        ("O=Acme,CN=alice", True),
        ("CN=*,O=Acme", True),
        ("CN=alice", False),
        ("O=Acme", False),
        ("CN=alice,O=Acme,OU=x", False),
        ("CN=alice,O=acme", False),
        ("CN=alice,CN=alice,O=Acme", False),
        ("CN=*", False),
    ],
)
def test_which_subjects_an_entry_is_for(subject: str, expected: bool) -> None:
    """A whole subject in any order of types, or the common name alone; `*` within a value."""
    assert expected == fits(ALICE, subject=subject)


@pytest.mark.parametrize(
    "value", ["alice,O=Acme", "alice\\,O=Acme", "alice/O=Acme", "alice+O=Acme", "alice\0,O=Acme"]
)
def test_a_common_name_with_commas_is_no_other_subject(value: str) -> None:
    """What is written into a common name is never taken for further parts."""
    evil = cert(("CN", value))
    for subject in ("CN=alice,O=Acme", "alice", "CN=alice", "CN=*,O=*"):
        assert not fits(evil, subject=subject)
    assert owner(evil) != owner(cert(("O", "Acme"), ("CN", "alice")))


def test_a_comma_within_a_value_is_escaped() -> None:
    r"""`\,` in an entry is a comma of the value."""
    assert fits(cert(("O", "Acme, Inc"), ("CN", "a")), subject="CN=a,O=Acme\\, Inc")


def test_a_subject_is_written_as_openssl_prints_it() -> None:
    """With its names for types, its order, and its escapes."""
    made = certificate(
        (DC, "com"),
        (DC, "acme"),
        (OU, "Ünit"),
        (NameOID.SERIAL_NUMBER, "12"),
        (NameOID.SURNAME, "Ice"),
        (NameOID.EMAIL_ADDRESS, "a@acme.com"),
        (CN, "alice+x"),
    )
    found = CertificateReader().read(made.public_bytes(Encoding.DER))
    text = (
        "CN=alice\\+x,emailAddress=a@acme.com,SN=Ice,serialNumber=12,OU=\\C3\\9Cnit,DC=acme,DC=com"
    )
    assert fits(found._replace(expires=None), subject=text)
    assert not fits(found._replace(expires=None), subject=text.replace("SN=Ice", "GN=Ice"))


def test_with_several_common_names_none_counts_alone() -> None:
    """Neither the first nor the last of several is the common name; the whole subject counts."""
    both = cert(("CN", "users"), ("CN", "admin"))
    for subject in ("users", "admin", "*", "CN=admin", "CN=users,CN=admin"):
        assert not fits(both, subject=subject)
    assert fits(both, subject="CN=admin,CN=users")
    assert owner(both) != owner(cert(("CN", "admin")))
    assert owner(both) != owner(cert(("CN", "users")))


@pytest.mark.parametrize(
    ("san", "name", "expected"),
    [
        ("alice.example.com", "alice.example.com", True),
        ("Alice.Example.com", "alice.example.com", True),
        ("*.example.com", "alice.example.com", True),
        ("*.example.com", "a.b.example.com", False),
        ("*.example.com", ".example.com", False),
        ("*.example.com", "alice.example.com.evil.com", False),
        ("*", "example.com", False),
        ("*", "spiffe://acme/x", False),
        ("*.acme.com", "spiffe://x.acme.com", False),
        ("spiffe://acme/ns/*/sa/*", "spiffe://acme/ns/a.b/sa/c", True),
        ("spiffe://acme/*", "spiffe://acme/a/b", False),
        ("spiffe://acme/*", "spiffe://acme/", False),
        ("spiffe://acme/a", "spiffe://acme/A", False),
        ("spiffe://*/a", "spiffe://evil/x/a", False),
        ("*@example.com", "a.b@example.com", True),
        ("*@example.com", "a@evil.com@example.com", False),
        ("*@*", "spiffe://a@b/c", False),
        ("10.0.0.7", "10.0.0.7", True),
        ("10.0.0.*", "10.0.0.7", True),
    ],
)
def test_which_names_an_entry_is_for(san: str, name: str, expected: bool) -> None:
    """`*` is one part of a name and never two; a kind of name is only compared with its own."""
    assert expected == fits(cert(("CN", "x"), sans=("other.org", name)), san=san)


def test_a_name_is_the_one_that_fitted() -> None:
    """An entry without name calls a certificate by what it fitted, not by what stands before."""
    made = cert(("CN", "x"), sans=("admin.other.org", "alice.example.com"))
    found = owner(made, entry(san="*.example.com", name=""))
    assert Owner("found", "alice.example.com") == found


def test_an_entry_by_subject_names_by_the_common_name() -> None:
    """An entry without name calls a certificate by its only common name, else by the subject."""
    one = owner(ALICE, entry(subject="CN=*,O=Acme", name=""))
    two = owner(cert(("CN", "a"), ("CN", "b")), entry(subject="CN=b,CN=a", name=""))
    assert Owner("found", "alice") == one
    assert two.principal.startswith("CN-b-CN-a-x")


@pytest.mark.parametrize(
    ("certificate", "expected"),
    [
        (ALICE, Owner("Acme", "alice")),
        (cert(("CN", "bob")), Owner("default", "bob")),
        (cert(("CN", "b"), sans=("h.example.com", "a@b.c")), Owner("default", "a@b.c")),
        (cert(("CN", "b"), sans=("h.example.com", "10.0.0.1")), Owner("default", "h.example.com")),
    ],
)
def test_who_a_certificate_without_entry_is(certificate: Certificate, expected: Owner) -> None:
    """Its organization is the tenant; its first URI, e-mail address, host, or CN the name."""
    assert expected == owner(certificate)


def test_organizations_that_are_no_tenants_stay_apart() -> None:
    """Texts that are no names, or several organizations, are tenants of their own."""
    spelled = [("Acme",), ("Acme Inc",), ("Acme-Inc",), ("Acme/Inc",), ("Acme", "Inc"), ("Аcme",)]  # noqa: RUF001 - a Cyrillic letter
    tenants = {owner(cert(*(("O", one) for one in each), ("CN", "a"))).tenant for each in spelled}
    assert len(spelled) == len(tenants)


def test_without_default_role_only_entries_count() -> None:
    """A certificate that no entry fits is refused where there is no default role."""
    with pytest.raises(Unauthenticated):
        owner(ALICE, entry(subject="bob"), role="")


def test_a_certificate_without_names_is_refused() -> None:
    """A certificate with an empty subject and no alternative name is nobody's."""
    with pytest.raises(Unauthenticated):
        owner(cert())


def test_a_certificate_expires_on_an_open_connection() -> None:
    """Once it has expired it is refused, known or not."""
    now = [NOW]
    found = Certificates(MtlsOptions(), lambda: now[0])
    assert found.known(ALICE) is None
    assert found.principal_of(ALICE) is found.known(ALICE)
    now[0] += 60
    assert found.known(ALICE) is None
    with pytest.raises(Unauthenticated):
        found.principal_of(ALICE)


@pytest.mark.parametrize("subject", ["CN=", "=alice", "CN=a,,O=b", "CN=a,O", "X Y=a"])
def test_a_subject_that_is_none_is_refused_at_the_start(subject: str) -> None:
    """An entry that could never fit is an error of the configuration that names the form."""
    with pytest.raises(ConfigError, match=r"auth\.mtls\.principals"):
        Certificates(MtlsOptions(principals=(entry(subject=subject),)), lambda: NOW)


def test_many_stars_take_no_long_time() -> None:
    """A pattern with many `*` is decided quickly, however the name looks."""
    began = time.monotonic()
    assert not fits(cert(("CN", "a" * 500 + "b")), subject="*a" * 100 + "c")
    assert not fits(cert(("CN", "x"), sans=("a" * 500,)), san="*a" * 100 + "c")
    assert time.monotonic() - began < 1


PARTS = st.lists(
    st.tuples(
        st.sampled_from(["CN", "O", "OU"]), st.text(alphabet="aA ,=+\\\0é.", min_size=1, max_size=6)
    ),
    min_size=1,
    max_size=4,
)


@given(PARTS, PARTS)
def test_different_organizations_or_names_are_different_owners(
    one: list[tuple[str, str]], other: list[tuple[str, str]]
) -> None:
    """Whatever the subjects, two owners are the same only if organizations and names are."""

    def parts(of: list[tuple[str, str]]) -> tuple[list[str], list[str]]:
        kinds = ("O", "CN")
        organizations, names = ([v for k, v in of if k == kind] for kind in kinds)
        return organizations, names

    (orgs, names), (other_orgs, other_names) = parts(one), parts(other)
    whole = owner(Certificate("first", tuple(one)))
    another = owner(Certificate("second", tuple(other)))
    if len(names) == 1 == len(other_names) and names != other_names:
        assert whole != another
    if orgs and other_orgs and orgs != other_orgs:
        assert whole.tenant != another.tenant
