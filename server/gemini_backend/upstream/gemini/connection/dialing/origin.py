"""Where a connection leads, and how requests are written on it."""

from __future__ import annotations

from typing import NamedTuple

from yarl import URL


class Origin(NamedTuple):
    """A server that requests are for.

    Attributes:
        host: Its name or address, an IPv6 address without brackets.
        port: Its TCP port.
        tls: Whether it is spoken to by TLS: https rather than http.
    """

    host: str
    port: int
    tls: bool

    @classmethod
    def of(cls, address: str) -> Origin:
        """Return the origin of an http or https address."""
        url = URL(address)
        # a name in another script is written as DNS, certificates and proxies know it
        return cls(url.raw_host or "", url.port or 0, url.scheme == "https")

    @property
    def authority(self) -> str:
        """Host and port, with brackets round an IPv6 address."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def __str__(self) -> str:
        """Return scheme, host and port, the port only where it is not the scheme's own."""
        scheme, usual = ("https", 443) if self.tls else ("http", 80)
        where = self.authority
        return f"{scheme}://{where.removesuffix(f':{usual}')}"


class RequestForm(NamedTuple):
    """What the way to an origin demands of each request.

    Attributes:
        prefix: What is written before the path in the request line: empty, or the origin's
            scheme, host and port where a proxy is asked by the whole address.
        headers: Headers to add to each request: names and values. They may hold a password.
    """

    prefix: str
    headers: tuple[tuple[str, str], ...]

    def __repr__(self) -> str:
        """Return it without the headers' values."""
        return f"RequestForm(prefix={self.prefix!r}, headers={[name for name, _ in self.headers]})"
