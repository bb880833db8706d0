"""API keys of this server: their secrets, where they are kept, and who presents one."""

from gemini_backend.identity.api_keys.api_keys import ApiKeys
from gemini_backend.identity.api_keys.key_store import FILE, open_keys
from gemini_backend.identity.api_keys.record import Cursor, KeyRecord, NewKey
from gemini_backend.identity.api_keys.secret import id_in

__all__ = ["FILE", "ApiKeys", "Cursor", "KeyRecord", "NewKey", "id_in", "open_keys"]
