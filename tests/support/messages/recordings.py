"""The recorded exchanges with Gemini, where they are at hand."""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

_VERBS = ("generateContent", "streamGenerateContent", "countTokens", "batchEmbedContents")
_ADDRESS = re.compile(r"/(?:models|tunedModels)/([^/:?]+):([A-Za-z]+)")
_EVENT_END = re.compile(r"\r?\n\r?\n")


@dataclass(frozen=True)
class Recording:
    """One request and what Gemini answered."""

    place: str
    host: str
    model: str
    verb: str
    request: dict[str, Any]
    status: int
    content_type: str
    body: bytes

    @property
    def events(self) -> list[dict[str, Any]]:
        """The events of a recorded stream."""
        cut = _EVENT_END.split(self.body.decode())
        return [json.loads(event.removeprefix("data:")) for event in cut if event.strip()]

    @property
    def answer(self) -> dict[str, Any]:
        """The body of a recorded answer that is no stream."""
        found: dict[str, Any] = json.loads(self.body)
        return found


def recordings(*verbs: str) -> list[Recording]:
    """Return the recordings of these verbs, all of ours without any."""
    return [found for found in _all() if found.verb in (verbs or _VERBS)]


def _any(_recording: Recording) -> bool:
    return True


def parameters(*verbs: str, where: Callable[[Recording], bool] = _any) -> pytest.MarkDecorator:
    """Return a parametrisation by recording; without the recordings, one that says so."""
    reason = "set GEMINI_BACKEND_TEST_DATA to the folder with gemini-recordings.jsonl"
    found = [one for one in recordings(*verbs) if where(one)]
    if found:
        return pytest.mark.parametrize("recording", found, ids=[item.place for item in found])
    if os.environ.get("CI") == "true":
        raise RuntimeError(reason)
    skipped = pytest.param(None, marks=pytest.mark.skip(reason=reason))
    return pytest.mark.parametrize("recording", [skipped])


@cache
def _all() -> tuple[Recording, ...]:
    folder = os.environ.get("GEMINI_BACKEND_TEST_DATA")
    file = Path(folder or ".") / "gemini-recordings.jsonl"
    if not folder or not file.exists():
        return ()
    with file.open() as lines:
        rows = [json.loads(line) for line in lines]
    return tuple(_recording(number, row) for number, row in enumerate(rows) if _is_ours(row))


def _is_ours(row: dict[str, Any]) -> bool:
    match = _ADDRESS.search(row["url"])
    return match is not None and match[2] in _VERBS


def _recording(number: int, row: dict[str, Any]) -> Recording:
    match = _ADDRESS.search(row["url"])
    assert match is not None
    content_type = row["headers"].get("content-type", ["application/json; charset=UTF-8"])
    return Recording(
        place=f"{number}-{match[2]}",
        host=urlsplit(row["url"]).netloc,
        model=f"models/{match[1]}",
        verb=match[2],
        request=row["request"],
        status=row["status"],
        content_type=content_type[0],
        body=row["body"].encode(),
    )
