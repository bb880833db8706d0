"""How the parts before upstream stand at one moment: frozen facts, free of any transport.

Policies and upstream tell them; health judges by them, and whoever shows them packs them. Times
are seconds on the clock of all calls.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class KeyState(Enum):
    """Whether an upstream key can be used."""

    UNKNOWN = "never used so far"
    ACTIVE = "usable"
    THROTTLED = "a quota by the minute is used up"
    EXHAUSTED = "a quota by the day is used up"
    INVALID = "refused by upstream"


@dataclass(frozen=True, slots=True)
class KeyStatus:
    """One upstream key, by its id; the key itself is never told. `until` is None where open."""

    key_id: str
    project: str
    state: KeyState
    until: float | None
    in_flight: int
    succeeded: int
    failed: int
    last_failure_reason: str = ""
