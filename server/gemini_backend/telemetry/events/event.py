"""What every event is."""

from __future__ import annotations

from msgspec import Struct


class Event(Struct, frozen=True):
    """Something that has happened, in values that never change.

    An event holds no call, request or error, so a listener may keep it as long as it likes. A
    `Usage` in it is shared, and is only read.
    """
