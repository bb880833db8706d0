"""Answers that are not bought: out of a cache, out of another execution's run, or resumed.

`execution` is the name of the execution that is answered.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from gemini_backend.telemetry.events.event import Event

if TYPE_CHECKING:
    from gemini.backend.v1.content_pb2 import Usage


class CacheLookedUp(Event, frozen=True):
    """A cache was asked for an answer, or was bypassed.

    `stale` is an old answer that is given because upstream has failed; it follows a miss, unless
    the cache was not to be asked first.
    """

    execution: str
    cache: Literal["exact", "semantic"]
    result: Literal["hit", "miss", "bypass", "stale"]


class AnswerReused(Event, frozen=True):
    """A kept answer is given: the version that had made it, and the usage that it saves."""

    execution: str
    cache: Literal["exact", "semantic"]
    served_model: str
    usage: Usage


class ExecutionCoalesced(Event, frozen=True):
    """An execution shares the run of an identical one, `leader`, instead of one of its own."""

    execution: str
    leader: str


class StreamResumed(Event, frozen=True):
    """A caller has taken up the stream of an earlier execution, `resumed`."""

    execution: str
    resumed: str


class ExecutionDetached(Event, frozen=True):
    """An execution goes on though its last reader has left."""

    execution: str
