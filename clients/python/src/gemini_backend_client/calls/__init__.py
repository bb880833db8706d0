"""The operations of both clients, each written once."""

from __future__ import annotations

from gemini_backend_client.calls.execution import Execution
from gemini_backend_client.calls.sessions import session_name

__all__ = ["Execution", "session_name"]
