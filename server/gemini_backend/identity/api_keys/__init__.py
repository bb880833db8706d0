"""API keys of this server: their secrets, where they are kept, and who presents one."""

from gemini_backend.identity.api_keys.api_keys import ApiKeys
from gemini_backend.identity.api_keys.key_store import open_keys
from gemini_backend.identity.api_keys.record import Cursor, KeyRecord, NewKey

__all__ = ["ApiKeys", "Cursor", "KeyRecord", "NewKey", "open_keys"]
