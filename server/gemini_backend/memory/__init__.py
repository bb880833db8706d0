"""Bytes in flight: one budget for all of them, its limit, and what goes back to the system."""

from gemini_backend.memory.allocator import Allocator
from gemini_backend.memory.budget import Account, Hold, MemoryBudget, MemoryState, Purpose
from gemini_backend.memory.machine import automatic_bytes

__all__ = [
    "Account",
    "Allocator",
    "Hold",
    "MemoryBudget",
    "MemoryState",
    "Purpose",
    "automatic_bytes",
]
