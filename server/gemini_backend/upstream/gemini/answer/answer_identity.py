"""What an answer says of itself: which model, which answer, when."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec
from google.protobuf.timestamp_pb2 import Timestamp

from gemini_backend import masking

if TYPE_CHECKING:
    from gemini.backend.v1.execute_service_pb2 import Started

_PLACES = ("modelVersion", "responseId", "createTime")


@dataclass(slots=True)
class AnswerIdentity:
    """Version, id and time of an answer, as they first come; once told they stay as they are."""

    model_version: str = ""
    response_id: str = ""
    create_time: str = ""
    time: Timestamp | None = field(default=None, init=False)
    _told: bool = field(default=False, init=False)

    def learn(
        self, version: str | None, response: str | None, created: str | None
    ) -> dict[str, msgspec.Raw] | None:
        """Take what an event says, and return those of its words that differ from what is kept."""
        if (
            version == self.model_version
            and response == self.response_id
            and (created or "") == self.create_time
        ):
            return None
        words = [word for word in (version, response, created) if word is not None]
        together = "\n".join(words)
        if masking.text(together) != together:  # looked at together, they cost a third
            version, response, created = (
                None if word is None else masking.text(word)
                for word in (version, response, created)
            )
        if not self._told:
            self.model_version = self.model_version or version or ""
            self.response_id = self.response_id or response or ""
            if not self.create_time and created is not None:
                self.time = _timestamp(created)
                self.create_time = created if self.time else ""
        kept = (self.model_version, self.response_id, self.create_time)
        found = (version, response, created)
        if found == kept or (found[:2] == kept[:2] and created is None):
            return None
        other = {
            place: msgspec.Raw(msgspec.json.encode(new))
            for place, old, new in zip(_PLACES, kept, found, strict=True)
            if new is not None and new != old
        }
        return other or None

    def tell(self, model: str, started: Started) -> None:
        """Write it into a `Started` of an answer of `model`, once and for all."""
        self._told = True
        started.model = started.served_model = model
        started.model_version = self.model_version
        started.response_id = self.response_id
        if self.time is not None:
            started.create_time.CopyFrom(self.time)

    def as_json(self) -> dict[str, Any]:
        """Return what is known under Gemini's names."""
        kept = (self.model_version, self.response_id, self.create_time)
        return {place: value for place, value in zip(_PLACES, kept, strict=True) if value}


def _timestamp(text: str) -> Timestamp | None:
    """Return the time if writing it gives the same text again."""
    found = Timestamp()
    try:
        found.FromJsonString(text)
    except (ValueError, OverflowError):
        return None
    return found if found.ToJsonString() == text else None
