"""The audit log: administrative acts and refused authentication, chained by HMAC.

A command on this machine records what it does by `record_local`:

    with record_local(config, "keys create", details={"tenant": tenant}) as act:
        key = create()
        act.target = f"keys/{key.id}"
"""

from __future__ import annotations

from gemini_backend.audit.entry import fit
from gemini_backend.audit.failures import unavailable
from gemini_backend.audit.local import LocalAct, key_of, record_local

__all__ = ["LocalAct", "fit", "key_of", "record_local", "unavailable"]
