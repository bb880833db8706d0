"""Facts of the server as messages of the contract, and back."""

from gemini_backend.api.messages.pagination import last_seen, token_after

__all__ = ["last_seen", "token_after"]
