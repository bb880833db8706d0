"""What metadata takes on the wire."""

from __future__ import annotations

import base64
from urllib.parse import quote

import pytest
from google.rpc.status_pb2 import Status

from gemini_backend.api.requests.metadata_size import size_of, status_size

# what percent-encoding of grpc-message leaves as it is: printable ASCII without "%"
PLAIN = "".join(chr(byte) for byte in range(0x20, 0x7F) if chr(byte) != "%")


@pytest.mark.parametrize(
    "text", ["", "plain words, 100 %", "无效的参数", "line\nline\t\x7f~", "é😀%%"]
)
def test_a_message_counts_percent_encoded_and_within_the_details(text: str) -> None:
    """Three bytes for each byte outside of printable ASCII, four for three in the details."""
    status = Status(code=3, message=text)
    encoded = base64.b64encode(status.SerializeToString()).rstrip(b"=")
    assert len(quote(text, safe=PLAIN)) + len(encoded) == status_size(status)


def test_an_entry_counts_key_value_and_what_http2_adds() -> None:
    """Text as it is, bytes as base64, and 32 for the entry."""
    assert 3 + 5 + 32 == size_of("key", "value")
    assert 7 + 14 + 32 == size_of("key-bin", b"0123456789")
