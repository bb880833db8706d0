"""Certificates made for tests, as PEM files."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    import trustme

START = datetime(2030, 1, 1, tzinfo=UTC)


def issue(authority: trustme.CA, *, days: float | None = None, name: str = "localhost") -> Any:
    """Return a certificate for this machine; valid for so many days from `START`, if given."""
    if days is None:
        return authority.issue_cert(name, "127.0.0.1", common_name=name)
    end = START + timedelta(days=days)
    return authority.issue_cert(name, common_name=name, not_before=START, not_after=end)


def write(folder: Path, issued: Any, name: str = "server") -> dict[str, str]:
    """Write a certificate and its key, in place of those before; return the settings."""
    chain = b"".join(blob.bytes() for blob in issued.cert_chain_pems)
    cert, key = folder / f"{name}.pem", folder / f"{name}_key.pem"
    cert.write_bytes(chain)
    key.write_bytes(issued.private_key_pem.bytes())
    return {"tls_cert_file": str(cert), "tls_key_file": str(key)}
