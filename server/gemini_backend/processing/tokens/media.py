"""What media come to: pictures, video, sound and documents, by Gemini's published rules.

All of it is an estimate. What the rules need, such as a picture's size, is read from the first
bytes; where it cannot be, the medium counts as an ordinary one.
"""

from __future__ import annotations

import math
import re
import struct
from dataclasses import dataclass

from gemini.backend.v1 import content_pb2 as pb
from gemini_backend.processing.tokens.model_generation import NEWEST
from gemini_backend.sizes import MIB

_TILE_PIXELS = 768
_SMALL_PIXELS = 384
# Where nothing says how long a video or a recording lasts: bytes a second of ordinary ones.
_VIDEO_BYTES, _AUDIO_BYTES = 250_000, 16_000
# A file by address tells nothing of its size.
_UNKNOWN_SECONDS = 60.0
# What a header claims may be absurd; this is more than any model takes, and can be added up.
_MOST = 1 << 24
_LOW, _MEDIUM = pb.MEDIA_RESOLUTION_LOW, pb.MEDIA_RESOLUTION_MEDIUM
_HIGH, _ULTRA = pb.MEDIA_RESOLUTION_HIGH, pb.MEDIA_RESOLUTION_ULTRA_HIGH
_PDF_PAGE = re.compile(rb"/Type\s*/Page(?![A-Za-z])")
# Beyond, a document's pages are guessed from its size.
_LOOKED_AT, _PAGE_BYTES = MIB, 50_000


@dataclass(frozen=True, slots=True)
class Medium:
    """One medium as it was sent: its type, what is at hand of it, how finely it is read."""

    mime_type: str
    data: bytes = b""
    size: int = 0
    resolution: int = 0
    frames_a_second: float = 1.0
    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class _Rates:
    """Tokens of a picture, a page, a frame by resolution, with the default at 0; of a second."""

    picture: dict[int, int]
    page: dict[int, int]
    frame: dict[int, int]
    audio_second: int


_BEFORE = _Rates(
    {0: 258, _LOW: 64, _MEDIUM: 256, _HIGH: 256}, {0: 258}, {0: 263, _LOW: 66}, audio_second=32
)
_NOW = _Rates(
    {0: 1120, _LOW: 280, _MEDIUM: 560, _HIGH: 1120, _ULTRA: 2240},
    {0: 560, _LOW: 280, _MEDIUM: 560, _HIGH: 1120, _ULTRA: 2240},
    {0: 70, _HIGH: 280, _ULTRA: 280},
    audio_second=25,
)


def modality_of(mime_type: str) -> pb.Modality.ValueType:
    """Return the kind that a media type is counted as."""
    family = mime_type.partition("/")[0].lower()
    if mime_type.lower().startswith("application/pdf"):
        return pb.MODALITY_DOCUMENT
    known = {
        "image": pb.MODALITY_IMAGE,
        "video": pb.MODALITY_VIDEO,
        "audio": pb.MODALITY_AUDIO,
        "text": pb.MODALITY_TEXT,
    }
    return known.get(family, pb.MODALITY_DOCUMENT)


def tokens_of(medium: Medium, generation: float) -> int:
    """Return about how many tokens a medium has, at most 2^24; text is not counted here."""
    return min(_MOST, _tokens(medium, generation))


def _tokens(medium: Medium, generation: float) -> int:
    rates = _NOW if generation >= NEWEST else _BEFORE
    kind = modality_of(medium.mime_type)
    if kind == pb.MODALITY_IMAGE:
        return _at(rates.picture, medium.resolution) * _tiles(medium, generation)
    if kind == pb.MODALITY_AUDIO:
        return math.ceil(_seconds(medium, _AUDIO_BYTES) * rates.audio_second)
    if kind == pb.MODALITY_VIDEO:
        frames = max(1, math.ceil(_seconds(medium, _VIDEO_BYTES) * medium.frames_a_second))
        return frames * _at(rates.frame, medium.resolution)
    return _at(rates.page, medium.resolution) * _pages(medium)


def picture_size(data: bytes) -> tuple[int, int] | None:
    """Return width and height in pixels of a PNG, JPEG, GIF or WebP; None where it is none."""
    if data.startswith(b"\x89PNG\r\n\x1a\n") and len(data) >= 24:  # noqa: PLR2004 - a header's length
        return struct.unpack(">II", data[16:24])
    if data[:6] in (b"GIF87a", b"GIF89a") and len(data) >= 10:  # noqa: PLR2004 - as above
        return struct.unpack("<HH", data[6:10])
    if data.startswith(b"\xff\xd8"):
        return _jpeg_size(data)
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP" and len(data) >= 30:  # noqa: PLR2004 - as above
        return _webp_size(data)
    return None


def _at(rates: dict[int, int], resolution: int) -> int:
    return rates.get(resolution, rates[0])


def _tiles(medium: Medium, generation: float) -> int:
    """Return in how many tiles a picture is read: later models fit it into one budget."""
    if generation >= NEWEST or medium.resolution in (_LOW, _MEDIUM):
        return 1
    width, height = picture_size(medium.data) or (0, 0)
    if max(width, height) <= _SMALL_PIXELS:
        return 1
    return math.ceil(width / _TILE_PIXELS) * math.ceil(height / _TILE_PIXELS)


def _jpeg_size(data: bytes) -> tuple[int, int] | None:
    """Go from marker to marker until the frame's header."""
    at = 2
    while at + 9 <= len(data) and data[at] == 0xFF:  # noqa: PLR2004 - a marker
        marker, length = data[at + 1], int.from_bytes(data[at + 2 : at + 4])
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):  # noqa: PLR2004 - frames
            height, width = struct.unpack(">HH", data[at + 5 : at + 9])
            return width, height
        if length < 2:  # noqa: PLR2004 - its own two bytes
            return None
        at += 2 + length
    return None


def _webp_size(data: bytes) -> tuple[int, int] | None:
    form = data[12:16]
    if form == b"VP8X":
        return 1 + int.from_bytes(data[24:27], "little"), 1 + int.from_bytes(data[27:30], "little")
    if form == b"VP8L":
        bits = int.from_bytes(data[21:25], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    if form == b"VP8 ":
        width, height = struct.unpack("<HH", data[26:30])
        return width & 0x3FFF, height & 0x3FFF
    return None


def _seconds(medium: Medium, bytes_a_second: int) -> float:
    if medium.seconds is not None:
        return min(medium.seconds, _MOST)
    if not medium.size:
        return _UNKNOWN_SECONDS
    if medium.data[:4] == b"RIFF" and medium.data[8:12] == b"WAVE":
        rate = int.from_bytes(medium.data[28:32], "little")
        return medium.size / rate if rate else medium.size / bytes_a_second
    return medium.size / bytes_a_second


def _pages(medium: Medium) -> int:
    if not medium.size:
        return 1
    found = len(_PDF_PAGE.findall(medium.data, 0, _LOOKED_AT))
    if found and medium.size <= _LOOKED_AT:
        return found
    return max(1, found, medium.size // _PAGE_BYTES)
