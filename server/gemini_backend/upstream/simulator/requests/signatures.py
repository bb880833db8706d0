"""Thought signatures: opaque tickets that come back with the function calls that they came with."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

from gemini_backend.upstream.simulator.errors import invalid
from gemini_backend.upstream.simulator.requests.json_reader import read_bytes
from gemini_backend.upstream.simulator.wire import digest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gemini_backend.upstream.simulator.wire import Json

_MAGIC = b"\x12\x5f\x0a\x5d\x01"
_SEED = 24


def sign(*seed: object) -> str:
    """A signature, base64, of 80 bytes; it is refused later if a byte of it has changed."""
    body = _MAGIC + digest("signature", *seed)[:_SEED]
    return base64.b64encode(body + _seal(body)).decode()


def check(contents: Sequence[Json], *, demanded: bool) -> None:
    """Refuses what Gemini refuses: changed signatures, and (if ``demanded``) calls without one.

    Only the current turn counts, that is what follows the last text of the user; in each of its
    answers the first function call must carry its signature.

    Raises:
        ApiError: 400.
    """
    start = _current_turn(contents)
    for position, content in enumerate(contents, 1):
        parts = content.get("parts", ())
        for part in parts:
            if not _genuine(part.get("thoughtSignature", "")):
                raise invalid("Thought signature is not valid.")
        # Turns of the model that follow each other count as one.
        goes_on = position > 1 and contents[position - 2].get("role") == "model"
        if demanded and position > start and content.get("role") == "model" and not goes_on:
            _first_call_signed(parts, position)


def _first_call_signed(parts: Sequence[Json], position: int) -> None:
    calls = [part for part in parts if "functionCall" in part]
    if calls and not calls[0].get("thoughtSignature"):
        name = calls[0]["functionCall"].get("name", "")
        raise invalid(
            "Function call is missing a thought_signature in functionCall parts. This is required "
            "for tools to work correctly, and missing thought_signature may lead to degraded model "
            f"performance. Additional data, function call `default_api:{name}` , position "
            f"{position}. Please refer to https://ai.google.dev/gemini-api/docs/thought-signatures "
            "for more details."
        )


def _current_turn(contents: Sequence[Json]) -> int:
    for index in range(len(contents) - 1, -1, -1):
        content = contents[index]
        if content.get("role", "user") == "user" and any(
            "functionResponse" not in part for part in content.get("parts", ())
        ):
            return index + 1
    return 0


def _genuine(signature: str) -> bool:
    raw = read_bytes(signature)
    if not raw.startswith(_MAGIC):
        # Someone else's, such as the documented placeholder that skips the check.
        return True
    size = len(_MAGIC) + _SEED
    return raw[size:] == _seal(raw[:size])


def _seal(body: bytes) -> bytes:
    return digest("seal", body) + digest("seal again", body)[:19]
