"""What metadata takes on the wire, counted as gRPC's own limits count it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from google.rpc.status_pb2 import Status

_GRPC_BYTES = 512
"""Kept free for what gRPC adds itself, such as `content-type`, for the keys of message and
details, and for the initial metadata of an execution."""
METADATA_BYTES = 4096 - _GRPC_BYTES
_ENTRY_BYTES = 32  # what HTTP/2 counts for each entry besides its key and value


def size_of(key: str, value: str | bytes) -> int:
    """Return what one entry takes; binary values travel as base64."""
    raw = len(value.encode()) if isinstance(value, str) else _base64(len(value))
    return len(key) + raw + _ENTRY_BYTES


def status_size(status: Status) -> int:
    """Return what the values of `grpc-message` and `grpc-status-details-bin` take together.

    The message counts in both: percent-encoded in one, as part of the details in the other.
    """
    return _percent(status.message) + _base64(status.ByteSize())


def _percent(text: str) -> int:
    """Return the length of a text whose bytes outside of printable ASCII take three."""
    data = text.encode()
    plain = sum(0x20 <= byte <= 0x7E and byte != 0x25 for byte in data)  # noqa: PLR2004 - "%", and the ends of printable ASCII
    return 3 * len(data) - 2 * plain


def _base64(size: int) -> int:
    return (4 * size + 2) // 3
