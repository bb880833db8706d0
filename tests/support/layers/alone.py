"""One layer alone round a handler, called as a policy is."""

from __future__ import annotations

from typing import Any

from gemini_backend.policies.pipeline import Pipeline


class Alone:
    """A hook or wrapper, as `unary` and `stream` run it round the rest of a call."""

    def __init__(self, layer: Any) -> None:
        """Put nothing else round the rest."""
        self._pipeline = Pipeline(layer)

    def unary(self, call: Any, request: Any, proceed: Any) -> Any:
        """Return the whole answer, awaitable."""
        return self._pipeline.unary(proceed)(call, request)

    def stream(self, call: Any, request: Any, proceed: Any) -> Any:
        """Return the events; nothing begins before the first one is asked for."""
        return self._pipeline.stream(proceed)(call, request)

    def open(self, call: Any, request: Any, proceed: Any) -> Any:
        """Return the open stream, awaitable."""
        return self._pipeline.open(proceed)(call, request)
