"""What files of certificates contain, and why some cannot be used."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
import trustme

from gemini_backend.config.certificates import (
    DAY_SECONDS,
    Certificate,
    UnusableCertificateError,
    authorities_in,
    chain_of,
    load_pair,
)

if TYPE_CHECKING:
    from pathlib import Path

START = datetime(2030, 1, 1, tzinfo=UTC)
END = START + timedelta(days=90)
ENCRYPTED = """-----BEGIN EC PRIVATE KEY-----
Proc-Type: 4,ENCRYPTED
DEK-Info: AES-128-CBC,00000000000000000000000000000000

AAAA
-----END EC PRIVATE KEY-----
"""


def written(folder: Path, name: str, issued: Any) -> tuple[Path, Path]:
    """Write a certificate with its chain, and its key; return both paths."""
    cert, key = folder / f"{name}.pem", folder / f"{name}_key.pem"
    for blob in issued.cert_chain_pems:
        blob.write_to_path(cert, append=True)
    issued.private_key_pem.write_to_path(key)
    return cert, key


def test_the_validity_of_a_chain(tmp_path: Path) -> None:
    """The server's own certificate comes first, then those of its issuers; none is trusted."""
    authority = trustme.CA(organization_name="Root").create_child_ca()
    issued = authority.issue_cert(
        "localhost", common_name="the server", not_before=START, not_after=END
    )
    own, *others = chain_of(*written(tmp_path, "server", issued))
    assert "the server" in own.subject
    assert (START.timestamp(), END.timestamp()) == (own.not_before, own.not_after)
    assert len(issued.cert_chain_pems) - 1 == len(others)


def test_a_key_of_another_certificate(tmp_path: Path) -> None:
    """Both files are named: either may be the wrong one."""
    authority = trustme.CA()
    cert, _ = written(tmp_path, "one", authority.issue_cert("localhost"))
    _, key = written(tmp_path, "two", authority.issue_cert("localhost"))
    with pytest.raises(UnusableCertificateError, match="belongs to another certificate") as caught:
        chain_of(cert, key)
    assert {str(cert), str(key)} <= set(str(caught.value).replace(";", "").split())


@pytest.mark.parametrize(
    ("text", "words"),
    [(None, "cannot be read"), ("nothing", "is not as OpenSSL needs it"), (ENCRYPTED, "encrypted")],
)
def test_a_key_that_is_none(tmp_path: Path, text: str | None, words: str) -> None:
    """A key that is missing, of no form, or encrypted is refused, and nobody is asked for more."""
    cert, _ = written(tmp_path, "one", trustme.CA().issue_cert("localhost"))
    key = tmp_path / "key.pem"
    if text is not None:
        key.write_text(text)
    with pytest.raises(UnusableCertificateError, match=words):
        load_pair(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), cert, key)


def test_authorities(tmp_path: Path) -> None:
    """Each authority of a file is read; a file without any is refused."""
    both = tmp_path / "ca.pem"
    for name in ("A", "B"):
        trustme.CA(organization_name=name).cert_pem.write_to_path(both, append=True)
    assert {"A", "B"} == {one.subject.split(",")[0] for one in authorities_in(both)}
    none = tmp_path / "none.pem"
    none.write_text("nothing")
    with pytest.raises(UnusableCertificateError, match="contains no certificates"):
        authorities_in(none)
    own, _ = written(tmp_path, "own", trustme.CA().issue_cert("localhost"))
    with pytest.raises(UnusableCertificateError, match="no certificate of an authority"):
        authorities_in(own)


@pytest.mark.parametrize(
    ("day", "problem", "notice"),
    [
        (-2, "it is not valid for another 2.0 days; check the clock", ""),
        (10, "", ""),
        (70, "", "it expires in 20.0 days; renew it"),
        (91.5, "it expired 1.5 days ago; renew it", ""),
    ],
)
def test_a_certificate_is_judged_by_the_time(day: float, problem: str, notice: str) -> None:
    """Too early, good, soon to expire, expired."""
    one = Certificate("it", 0.0, 90.0 * DAY_SECONDS)
    assert problem == one.problem(day * DAY_SECONDS)
    if not problem:
        assert notice == one.notice(day * DAY_SECONDS, 30)
