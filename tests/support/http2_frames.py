"""HTTP/2 frames, written by hand: what no client library would send."""

from __future__ import annotations

import struct

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = (
    *(0, 1, 3, 4, 6, 7, 8, 9),
)
END_STREAM, END_HEADERS, ACK = 1, 4, 1
INITIAL_WINDOW_SIZE = 4


def frame(kind: int, payload: bytes = b"", *, flags: int = 0, stream: int = 0) -> bytes:
    """Return one frame."""
    head = struct.pack(">I", len(payload))[1:] + bytes((kind, flags)) + struct.pack(">I", stream)
    return head + payload


def settings(values: dict[int, int] | None = None, *, flags: int = 0) -> bytes:
    """Return a SETTINGS frame."""
    payload = b"".join(struct.pack(">HI", *pair) for pair in (values or {}).items())
    return frame(SETTINGS, payload, flags=flags)


def opening(values: dict[int, int] | None = None) -> bytes:
    """Return what a client begins a connection with."""
    return PREFACE + settings(values)


def block(fields: dict[str, str]) -> bytes:
    """Return a header block: each field as a literal that no table remembers."""
    return b"".join(b"\x00" + _text(name) + _text(value) for name, value in fields.items())


def request(method: str, **more: str) -> dict[str, str]:
    """Return the headers of an RPC."""
    return {
        ":method": "POST",
        ":scheme": "http",
        ":path": method,
        ":authority": "localhost",
        "te": "trailers",
        "content-type": "application/grpc",
        **more,
    }


def headers(stream: int, fields: dict[str, str], *, end: bool = False, whole: bool = True) -> bytes:
    """Return a HEADERS frame; `end` ends the stream, `whole` the headers."""
    flags = (END_STREAM if end else 0) | (END_HEADERS if whole else 0)
    return frame(HEADERS, block(fields), flags=flags, stream=stream)


def message(stream: int, data: bytes, *, end: bool = True) -> bytes:
    """Return a DATA frame with one message of gRPC's."""
    payload = b"\x00" + struct.pack(">I", len(data)) + data
    return frame(DATA, payload, flags=END_STREAM if end else 0, stream=stream)


def reset(stream: int, code: int = 8) -> bytes:
    """Return a RST_STREAM frame, by default with CANCEL."""
    return frame(RST_STREAM, struct.pack(">I", code), stream=stream)


def _text(text: str) -> bytes:
    data = text.encode("latin-1")
    return _integer(len(data)) + data


def _integer(value: int) -> bytes:
    """Return a length as HPACK writes it, with a prefix of 7 bits and without Huffman's code."""
    if value < 127:
        return bytes((value,))
    value -= 127
    data = bytearray((127,))
    while value >= 128:
        data.append(value & 127 | 128)
        value >>= 7
    return bytes((*data, value))
