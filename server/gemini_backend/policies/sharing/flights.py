"""The runs under way that calls may share, of one kind."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, TypeVar

from gemini_backend.policies.cache import run_key
from gemini_backend.policies.checks import sketch_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gemini_backend.call import Call, Sketch

F = TypeVar("F")


class Likeness:
    """By what a call finds a run to share: a digest, made only where there may be such a run.

    Attributes:
        near: What calls that share a run have in common in any case, at no cost: the tenant, and
            the last text that is asked.
    """

    __slots__ = ("_call", "_key", "_sketch", "near")

    def __init__(self, call: Call, request: Any, key: bytes | None = None) -> None:
        """Look at a request; `key` is its digest where that is known (`run_key`)."""
        sketch = None if key is not None else sketch_of(call, request)
        self._call = call
        self._sketch: Sketch | None = sketch
        self._key = key
        if sketch is not None:
            self.near = call.principal.tenant, sketch.prompt
        else:
            self.near = call.principal.tenant, _last_text(request)
            self._key = run_key(call, request) if key is None else key

    @property
    def key(self) -> bytes:
        """What two calls must have in common to share one run."""
        if self._key is None:
            assert self._sketch is not None  # noqa: S101 - what has none is digested at once
            self._key = run_key(self._call, self._sketch.request)
        return self._key


def _last_text(request: Any) -> str:
    """Return the text of the last part that is asked, which a prompt is."""
    if request.prompt or not request.contents:
        return str(request.prompt)
    parts = request.contents[-1].parts
    return str(parts[-1].text) if parts else ""


class Flights(Generic[F]):
    """Which flights are in the air, and which of them may be joined, by what they answer."""

    __slots__ = ("_all", "_open")

    def __init__(self) -> None:
        """Begin with none."""
        self._all: set[F] = set()
        # those near each other: the only one as it is, several by their keys
        self._open: dict[tuple[str, str], tuple[Likeness, F] | dict[bytes, F]] = {}

    def __len__(self) -> int:
        """Return how many are in the air."""
        return len(self._all)

    def __iter__(self) -> Iterator[F]:
        """Iterate over those in the air now, whatever becomes of them meanwhile."""
        return iter(tuple(self._all))

    def find(self, like: Likeness) -> F | None:
        """Return the one that may be joined."""
        return self._near(like).get(like.key) if like.near in self._open else None

    def add(self, like: Likeness, flight: F) -> None:
        """Let one be joined from now on, by calls that are like it."""
        if like.near in self._open:
            self._near(like)[like.key] = flight
        else:
            self._open[like.near] = like, flight
        self._all.add(flight)

    def close(self, like: Likeness, flight: F) -> None:
        """Let nobody else join it."""
        near = self._open.get(like.near)
        if type(near) is tuple:
            if near[1] is flight:
                del self._open[like.near]
        elif near is not None and self._near(like).get(like.key) is flight:
            del self._near(like)[like.key]
            if not near:
                del self._open[like.near]

    def landed(self, flight: F) -> None:
        """Forget one that has ended."""
        self._all.discard(flight)

    def _near(self, like: Likeness) -> dict[bytes, F]:
        """Return those near a call, of which there are some, by their keys."""
        near = self._open[like.near]
        if not isinstance(near, dict):
            near = self._open[like.near] = {near[0].key: near[1]}
        return near
