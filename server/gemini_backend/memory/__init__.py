"""Bytes in flight: one budget for all of them, its limit, and what goes back to the system."""

from gemini_backend.memory.allocator import GivingBack
from gemini_backend.memory.budget import Account, MemoryBudget, MemoryState, Purpose
from gemini_backend.memory.collector import settle_collector
from gemini_backend.memory.machine import automatic_bytes
from gemini_backend.memory.requests import HELD, RequestHold, RequestRoom

__all__ = [
    "HELD",
    "Account",
    "GivingBack",
    "MemoryBudget",
    "MemoryState",
    "Purpose",
    "RequestHold",
    "RequestRoom",
    "automatic_bytes",
    "settle_collector",
]
