"""The certificate of a request's peer, over TLS within the process."""

from __future__ import annotations

import ssl
from typing import Any

import pytest
import trustme

from gemini_backend.identity.certificate_reading import CertificateReader
from gemini_backend.web.peer_certificate import peer_certificate

READER = CertificateReader()


class Carrier:
    """A transport with the TLS object that a real one would have."""

    def __init__(self, made: object) -> None:
        self._made = made

    def get_extra_info(self, name: str) -> object:
        return self._made if name == "ssl_object" else None


def connected(verify: ssl.VerifyMode, *, presents: bool) -> Any:
    """Return the server's side of a connection with a client."""
    authority = trustme.CA()
    server, client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()
    authority.configure_trust(client)
    authority.issue_cert("localhost").configure_cert(server)
    authority.configure_trust(server)
    server.verify_mode = verify
    if presents:
        authority.issue_cert("alice@acme.com", common_name="alice").configure_cert(client)
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    one = server.wrap_bio(to_server, to_client, server_side=True)
    other = client.wrap_bio(to_client, to_server, server_hostname="localhost")
    for side in (other, one) * 3:
        try:
            side.do_handshake()
        except ssl.SSLWantReadError:
            continue
    return Carrier(one)


@pytest.mark.parametrize("verify", [ssl.CERT_REQUIRED, ssl.CERT_OPTIONAL])
def test_the_peers_certificate_is_read(verify: ssl.VerifyMode) -> None:
    """A port that asks for certificates says whose the connection is."""
    found = peer_certificate(connected(verify, presents=True), READER)
    assert found is not None
    assert (("alice",), ("alice@acme.com",)) == (found.values("CN"), found.sans)


@pytest.mark.parametrize("verify", [ssl.CERT_NONE, ssl.CERT_OPTIONAL])
def test_without_a_certificate_there_is_none(verify: ssl.VerifyMode) -> None:
    """A peer that presented none has none; so has one on a port that does not ask."""
    presents = verify is ssl.CERT_NONE
    assert peer_certificate(connected(verify, presents=presents), READER) is None


def test_without_tls_there_is_none() -> None:
    """A connection in plain text, or one that is closed, has no certificate."""
    plain: Any = Carrier(None)
    assert (None, None) == (peer_certificate(plain, READER), peer_certificate(None, READER))
