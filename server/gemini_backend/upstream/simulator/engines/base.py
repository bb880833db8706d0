"""What an engine is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from gemini_backend.upstream.simulator.requests import Ask


class EngineError(Exception):
    """An engine that cannot be had; the text says what to install or to choose."""


class Engine(Protocol):
    """Writes the text of answers."""

    def write(self, ask: Ask, candidate: int) -> AsyncIterator[str]:
        """The answer to ``ask``, a token or a few at a time; it may be stopped early.

        Args:
            ask: What is asked.
            candidate: Which of several answers this is, from 0.
        """
        ...

    def close(self) -> None:
        """Gives back what it holds; called once."""
        ...
