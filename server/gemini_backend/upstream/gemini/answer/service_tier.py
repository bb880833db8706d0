"""The terms at which Gemini served, as the header of its answer says; they decide the price."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gemini_backend import masking
from gemini_backend.upstream.gemini.translation import SERVICE_TIERS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gemini.backend.v1 import execute_service_pb2 as pb

HEADER = "x-gemini-service-tier"


def note_tier(message: pb.Started | pb.Completed, word: str) -> None:
    """Write the header's word into a message; a word without a value goes into the `_raw` twin."""
    number = SERVICE_TIERS.get(word.strip().lower())
    if number is None:
        message.served_service_tier_raw = masking.text(word.strip())
    else:
        message.served_service_tier = number  # type: ignore[assignment] # one of the enum's own


def note_tier_in(events: Iterable[pb.ExecuteResponse], word: str) -> None:
    """Write it into the first and the last event of an answer; an empty one says nothing."""
    if not word:
        return
    for event in events:
        if event.HasField("started"):
            note_tier(event.started, word)
        elif event.HasField("completed"):
            note_tier(event.completed, word)
