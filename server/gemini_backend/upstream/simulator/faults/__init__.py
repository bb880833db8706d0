"""Failures on demand: which request fails, and how."""

from __future__ import annotations

from gemini_backend.upstream.simulator.faults.alter import altered
from gemini_backend.upstream.simulator.faults.fault import FAULTS, Fault, ScriptError
from gemini_backend.upstream.simulator.faults.script import Script, read_script
from gemini_backend.upstream.simulator.faults.transport import Transmission

__all__ = ["FAULTS", "Fault", "Script", "ScriptError", "Transmission", "altered", "read_script"]
