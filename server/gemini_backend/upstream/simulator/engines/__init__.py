"""What writes the text: words derived from the prompt, or a small language model."""

from __future__ import annotations

from gemini_backend.upstream.simulator.engines.base import Engine, EngineError
from gemini_backend.upstream.simulator.engines.echo import EchoEngine

ENGINES = ("echo", "smollm2")

__all__ = ["ENGINES", "Engine", "EngineError", "load"]


def load(name: str) -> Engine:
    """The engine called ``name``, ready to write.

    Raises:
        EngineError: If there is none of that name, or what it needs is not installed.
    """
    if name == "echo":
        return EchoEngine()
    if name == "smollm2":
        from gemini_backend.upstream.simulator.engines.smollm2 import (  # noqa: PLC0415 - heavy
            SmolLm2Engine,
        )

        return SmolLm2Engine()
    message = f"there is no engine {name!r}: use one of {', '.join(ENGINES)}"
    raise EngineError(message)
