"""Why the audit log cannot be used, in words."""

from __future__ import annotations

from gemini_backend.errors import StoreUnavailable


def unavailable(error: OSError) -> StoreUnavailable:
    """Return the failure of whoever needs the log, for what its files could not do."""
    why = error.strerror or str(error)
    where = f" ({error.filename})" if error.filename else ""
    return StoreUnavailable(
        f"the audit log cannot be used: {why}{where}; fix the disk or the permissions of "
        "state.dir, or set audit.enabled = false to run without it"
    )
