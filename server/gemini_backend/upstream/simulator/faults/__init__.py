"""Failures on demand: which request fails, and how."""

from __future__ import annotations

from gemini_backend.upstream.simulator.faults.fault import FAULTS, Fault, ScriptError
from gemini_backend.upstream.simulator.faults.script import Script, read_script

__all__ = ["FAULTS", "Fault", "Script", "ScriptError", "read_script"]
