"""Media are estimated by the published rules."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gemini.backend.v1 import content_pb2 as pb
from gemini_backend.processing.tokens.media import Medium, modality_of, picture_size, tokens_of

if TYPE_CHECKING:
    from collections.abc import Callable

LOW, HIGH = pb.MEDIA_RESOLUTION_LOW, pb.MEDIA_RESOLUTION_HIGH


def png(width: int, height: int) -> bytes:
    """Return the beginning of a PNG."""
    return b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR" + struct.pack(">II", width, height)


def gif(width: int, height: int) -> bytes:
    """Return the beginning of a GIF."""
    return b"GIF89a" + struct.pack("<HH", width, height)


def jpeg(width: int, height: int) -> bytes:
    """Return the beginning of a JPEG with a thumbnail's segment before its frame."""
    segment = b"\xff\xe1" + struct.pack(">H", 40) + b"\xff\xc0" * 19
    return (
        b"\xff\xd8"
        + segment
        + b"\xff\xc2\x00\x11\x08"
        + struct.pack(">HH", height, width)
        + b"\x03"
    )


def webp(width: int, height: int) -> bytes:
    """Return the beginning of an extended WebP."""
    sides = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    return b"RIFF\x00\x00\x00\x00WEBPVP8X" + bytes(8) + sides


@pytest.mark.parametrize("make", [png, gif, jpeg, webp])
@given(width=st.integers(1, 65_535), height=st.integers(1, 65_535))
def test_sizes_are_read(make: object, width: int, height: int) -> None:
    """A picture's size is read from its first bytes."""
    assert (width, height) == picture_size(make(width, height))  # type: ignore[operator] # one of those above


@pytest.mark.parametrize("make", [png, gif, jpeg, webp])
def test_broken_pictures_have_no_size(make: Callable[[int, int], bytes]) -> None:
    """A picture that breaks off before its size has been said has none, wherever that is."""
    whole = make(300, 200).removesuffix(b"\x03")
    assert (300, 200) == picture_size(whole)
    assert {None} == {picture_size(whole[:end]) for end in range(len(whole))}


@given(st.binary(max_size=80), st.sampled_from([b"", b"\xff\xd8\xff", png(1, 1)[:16], b"RIFF"]))
def test_whatever_the_bytes_a_size_is_a_size(data: bytes, begin: bytes) -> None:
    """Reading them neither fails nor hangs, and gives two sides that a header can hold, or none."""
    size = picture_size(begin + data)
    assert size is None or [True, True] == [0 <= side < 1 << 32 for side in size]


@pytest.mark.parametrize(
    ("medium", "before", "now"),
    [
        (Medium("image/png", png(384, 384), 24), 258, 1120),
        (Medium("image/png", png(597, 566), 24), 258, 1120),
        (Medium("image/png", png(1537, 769), 24), 258 * 6, 1120),
        (Medium("image/png", png(1537, 769), 24, resolution=LOW), 64, 280),
        (Medium("image/heic", b"unknown", 7), 258, 1120),
        (Medium("audio/mpeg", size=160_000), 320, 250),
        (Medium("audio/wav", b"RIFF    WAVE" + bytes(16) + b"\x10\x27\0\0", 100_000), 320, 250),
        (Medium("audio/wav", b"RIFF    WAVE", 16_000), 32, 25),
        (Medium("video/mp4"), 60 * 263, 60 * 70),
        (Medium("video/mp4", seconds=10.0, frames_a_second=0.5), 5 * 263, 5 * 70),
        (Medium("video/mp4", seconds=10.0, resolution=HIGH), 10 * 263, 10 * 280),
        (Medium("video/mp4", seconds=0.0), 263, 70),
        (Medium("application/pdf", b"/Type /Pages /Type/Page /Type /Page\n", 40), 516, 1120),
        (Medium("application/pdf", b"%PDF", 4), 258, 560),
        (Medium("application/pdf"), 258, 560),
    ],
)
def test_rules(medium: Medium, before: int, now: int) -> None:
    """Models before Gemini 3 and since count by rules of their own."""
    assert (before, now) == (tokens_of(medium, 2.5), tokens_of(medium, 3.0))


@pytest.mark.parametrize(
    "medium",
    [
        Medium("image/png", png(2**32 - 1, 2**32 - 1), 24),
        Medium("video/mp4", seconds=1e308, frames_a_second=24.0),
        Medium("audio/mpeg", seconds=1e308),
    ],
)
def test_what_media_claim_is_bounded(medium: Medium) -> None:
    """A header that claims more than any model takes counts as 2^24 tokens, not as what it says."""
    assert 2**24 == tokens_of(medium, 2.5)


def test_kinds() -> None:
    """What is not known by its family is a document."""
    kinds = [modality_of(one) for one in ("image/png", "Video/mp4", "audio/x", "text/csv", "a/b")]
    assert [
        pb.MODALITY_IMAGE,
        pb.MODALITY_VIDEO,
        pb.MODALITY_AUDIO,
        pb.MODALITY_TEXT,
        pb.MODALITY_DOCUMENT,
    ] == kinds
