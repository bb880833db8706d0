"""The certificate of a call's peer, over a real connection, since only gRPC knows how it tells."""

from __future__ import annotations

from typing import Any

import grpc
import pytest
import trustme

from gemini_backend.identity.certificate_reading import CertificateReader
from gemini_backend.rpc.peers import peer_certificate


@pytest.mark.parametrize("mutual", [True, False])
async def test_the_peers_certificate_is_read(mutual: bool) -> None:
    """With mutual TLS it is the client's; without there is none."""
    found = []
    reader = CertificateReader()

    async def answer(_request: bytes, context: Any) -> bytes:
        found.append(peer_certificate(context, reader))
        return b""

    authority = trustme.CA()
    own = authority.issue_cert("localhost")
    client = authority.issue_cert("a@acme.com", common_name="a,O=b", organization_name="Acme")
    root = authority.cert_pem.bytes()
    server = grpc.aio.server()
    method = grpc.unary_unary_rpc_method_handler(answer)
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("a.B", {"C": method})])
    pair = (own.private_key_pem.bytes(), own.cert_chain_pems[0].bytes())
    credentials = grpc.ssl_server_credentials(
        [pair], root_certificates=root if mutual else None, require_client_auth=mutual
    )
    port = server.add_secure_port("localhost:0", credentials)
    await server.start()
    ours = (client.private_key_pem.bytes(), client.cert_chain_pems[0].bytes()) if mutual else ()
    channel = grpc.aio.secure_channel(
        f"localhost:{port}", grpc.ssl_channel_credentials(root, *ours)
    )
    async with channel:
        await channel.unary_unary("/a.B/C")(b"")
    await server.stop(None)
    if mutual:
        assert [(("a,O=b",), ("Acme",), ("a@acme.com",))] == [
            (one.values("CN"), one.values("O"), one.sans) for one in found
        ]
    else:
        assert [None] == found
