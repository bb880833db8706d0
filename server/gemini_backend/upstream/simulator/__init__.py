"""A simulator of Gemini's REST API: real shapes, made-up answers, failures on demand."""

from __future__ import annotations

from gemini_backend.upstream.simulator.options import SimulatorOptions
from gemini_backend.upstream.simulator.server import Simulator

__all__ = ["Simulator", "SimulatorOptions"]
