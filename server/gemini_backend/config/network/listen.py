"""Addresses to listen at."""

from __future__ import annotations

import ipaddress
from typing import NamedTuple

from gemini_backend.config.errors import ConfigError

_MAX_PORT = 65_535


class Listen(NamedTuple):
    """A host, without brackets, and a port; port 0 means any free one."""

    host: str
    port: int

    @property
    def loopback(self) -> bool:
        """Whether only this machine can reach it; names other than localhost never count."""
        if self.host.lower() == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    def __str__(self) -> str:
        """Return `HOST:PORT`, with brackets round an IPv6 address."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_listen(path: str, text: str) -> Listen:
    """Return the parts of `HOST:PORT` or `[IPv6]:PORT`, the value of the setting `path`.

    Raises:
        ConfigError: it is neither.
    """
    host, colon, digits = text.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    bare = host[1:-1] if bracketed else host
    ambiguous = ":" in host and not bracketed
    number = digits.isascii() and digits.isdigit() and int(digits) <= _MAX_PORT
    if not colon or not bare or ambiguous or not number:
        msg = (
            f"{path} is {text!r} and must be HOST:PORT with a port from 0 to {_MAX_PORT}, "
            "like 127.0.0.1:50051 or [::1]:0"
        )
        raise ConfigError.at(msg, path)
    return Listen(bare, int(digits))
