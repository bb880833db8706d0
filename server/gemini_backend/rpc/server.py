"""The grpc.aio server: options, credentials, services, ports."""

from __future__ import annotations

from typing import TYPE_CHECKING

import grpc

from gemini_backend.config.tls import path_of, tls_context
from gemini_backend.sizes import KIB, MIB

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gemini_backend.config.sections.server import ServerOptions


# A message over our own limit is still read, so that its refusal can be typed and name the fix;
# over this multiple of it, gRPC's core refuses it without details.
_TRANSPORT_FACTOR = 4
# The same of metadata. gRPC refuses at random between its two limits, so they are one.
_METADATA_BYTES = 64 * KIB
# The same of concurrent RPCs.
_CONCURRENCY_FACTOR = 2
_MAX_PENDING = 100_000


def build_server(
    options: ServerOptions,
    interceptors: Sequence[grpc.aio.ServerInterceptor],
    handlers: Sequence[grpc.GenericRpcHandler],
) -> grpc.aio.Server:
    """Return a server with our handlers, not yet listening."""
    server = grpc.aio.server(
        interceptors=interceptors,
        options=_channel_arguments(options),
        maximum_concurrent_rpcs=options.max_concurrent_rpcs * _CONCURRENCY_FACTOR or None,
    )
    server.add_generic_rpc_handlers(tuple(handlers))
    return server


def listen(server: grpc.aio.Server, options: ServerOptions) -> int:
    """Open the port; return the real one where 0 was asked for.

    Raises:
        OSError: the port is taken, or a certificate cannot be read; the message says which.
    """
    credentials = _credentials(options)
    try:
        if credentials is None:
            return int(server.add_insecure_port(options.listen))
        return int(server.add_secure_port(options.listen, credentials))
    except RuntimeError as error:
        msg = (
            f"cannot listen on {options.listen}: the port is in use, or the address does not "
            "belong to this machine; set server.listen"
        )
        raise OSError(msg) from error


def _channel_arguments(options: ServerOptions) -> list[tuple[str, int]]:
    arguments = [
        # two servers on one port by mistake would share its calls between them
        ("grpc.so_reuseport", 0),
        ("grpc.max_receive_message_length", options.max_message_mb * MIB * _TRANSPORT_FACTOR),
        ("grpc.max_send_message_length", -1),
        # the core would unpack a message before its size is known (rpc/compressed.py)
        ("grpc.per_message_decompression", 0),
        ("grpc.max_metadata_size", _METADATA_BYTES),
        ("grpc.absolute_max_metadata_size", _METADATA_BYTES),
        ("grpc.keepalive_time_ms", round(options.keepalive_time_seconds * 1000)),
        ("grpc.keepalive_timeout_ms", round(options.keepalive_timeout_seconds * 1000)),
        ("grpc.keepalive_permit_without_calls", 1),
        # calls that arrive faster than the loop accepts them wait; the core would drop them
        # untyped beyond 1,000
        ("grpc.server.max_pending_requests", _MAX_PENDING),
        ("grpc.server.max_pending_requests_hard_limit", _MAX_PENDING + 1),
        (
            "grpc.http2.min_ping_interval_without_data_ms",
            round(options.keepalive_min_client_interval_seconds * 1000),
        ),
    ]
    if options.max_connection_age_seconds:
        age = round(options.max_connection_age_seconds * 1000)
        arguments.append(("grpc.max_connection_age_ms", age))
    return arguments


def _credentials(options: ServerOptions) -> grpc.ServerCredentials | None:
    """Return TLS credentials; None when no certificate is configured.

    Raises:
        OSError: the certificates cannot be used; the message says why.
    """
    if not options.tls_cert_file:
        return None
    tls_context(options)  # gRPC itself would blame the port for a certificate of no use
    pair = (_read(options.tls_key_file), _read(options.tls_cert_file))
    authority = _read(options.tls_client_ca_file) if options.tls_client_ca_file else None
    return grpc.ssl_server_credentials(
        [pair], root_certificates=authority, require_client_auth=authority is not None
    )


def _read(path: str) -> bytes:
    return path_of(path).read_bytes()
