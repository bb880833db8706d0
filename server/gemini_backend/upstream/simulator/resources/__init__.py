"""What the simulator keeps or lists: files, uploads, cached contents, models."""

from __future__ import annotations

from gemini_backend.upstream.simulator.resources.caches import Caches
from gemini_backend.upstream.simulator.resources.files import Files

__all__ = ["Caches", "Files"]
