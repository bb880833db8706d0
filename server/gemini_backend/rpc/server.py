"""The grpc.aio server: options, credentials, services, ports."""

from __future__ import annotations

from typing import TYPE_CHECKING

import grpc

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
    max_connections: int = 0,
) -> grpc.aio.Server:
    """Return a server with our handlers, not yet listening.

    Args:
        options: Its limits and times.
        interceptors: Those that stand round all handlers.
        handlers: The services.
        max_connections: How many connections there may be; 0 for no limit.
    """
    server = grpc.aio.server(
        interceptors=interceptors,
        options=_channel_arguments(options, max_connections),
        maximum_concurrent_rpcs=options.max_concurrent_rpcs * _CONCURRENCY_FACTOR or None,
    )
    server.add_generic_rpc_handlers(tuple(handlers))
    return server


def listen(
    server: grpc.aio.Server, options: ServerOptions, credentials: grpc.ServerCredentials | None
) -> int:
    """Open the port; return the real one where 0 was asked for.

    Raises:
        OSError: the port is taken; the message names the setting.
    """
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


def _channel_arguments(options: ServerOptions, max_connections: int) -> list[tuple[str, int]]:
    arguments = [
        # two servers on one port by mistake would share its calls between them
        ("grpc.so_reuseport", 0),
        ("grpc.max_receive_message_length", options.max_message_mb * MIB * _TRANSPORT_FACTOR),
        ("grpc.max_send_message_length", -1),
        # the core would unpack a message before its size is known (rpc/compressed.py)
        ("grpc.per_message_decompression", 0),
        ("grpc.max_metadata_size", _METADATA_BYTES),
        ("grpc.absolute_max_metadata_size", _METADATA_BYTES),
        ("grpc.keepalive_time_ms", _ms(options.keepalive_time_seconds)),
        ("grpc.keepalive_timeout_ms", _ms(options.keepalive_timeout_seconds)),
        # the time for the answer to any ping, those of keepalive among them, has a name of its own
        ("grpc.http2.ping_timeout_ms", _ms(options.keepalive_timeout_seconds)),
        ("grpc.keepalive_permit_without_calls", 1),
        # it would count streams whose end a client has seen already, and refuse the next ones
        ("grpc.http.overload_protection", 0),
        ("grpc.server_handshake_timeout_ms", _ms(options.handshake_timeout_seconds)),
        ("grpc.max_connection_age_grace_ms", _ms(options.max_connection_age_grace_seconds)),
        # calls that arrive faster than the loop accepts them wait; the core would drop them
        # untyped beyond 1,000
        ("grpc.server.max_pending_requests", _MAX_PENDING),
        ("grpc.server.max_pending_requests_hard_limit", _MAX_PENDING + 1),
        (
            "grpc.http2.min_ping_interval_without_data_ms",
            _ms(options.keepalive_min_client_interval_seconds),
        ),
    ]
    limits = {
        "grpc.max_allowed_incoming_connections": max_connections,
        "grpc.max_concurrent_streams": options.max_streams_per_connection,
        "grpc.max_connection_idle_ms": _ms(options.max_connection_idle_seconds),
        "grpc.max_connection_age_ms": _ms(options.max_connection_age_seconds),
    }
    return [*arguments, *((name, value) for name, value in limits.items() if value)]


def _ms(seconds: float) -> int:
    return round(seconds * 1000)
