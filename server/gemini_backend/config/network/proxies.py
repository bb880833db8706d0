"""The proxy that the usual variables name for an address.

They are HTTPS_PROXY, HTTP_PROXY, ALL_PROXY and NO_PROXY, each known in small letters too, which
win. NO_PROXY lists what is reached directly, separated by commas or blanks: a host, which stands
for its subdomains too, with or without a dot before it; a host and port; an IP address or a range
of them, `10.0.0.0/8`; `*` for everything. Names are not looked up: a range fits an address that is
given as one.
"""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Mapping

_PORTS = {"http": 80, "https": 443}


def proxy_for(address: str, environ: Mapping[str, str]) -> tuple[str, str] | None:
    """Return the proxy for an http or https address, and the variable that names it.

    None where none is named, or the address is none or is to be reached directly.
    """
    try:
        parts = urlsplit(address)
        host, port = parts.hostname or "", parts.port or _PORTS.get(parts.scheme, 0)
    except ValueError:
        return None
    for name in (f"{parts.scheme}_proxy", "all_proxy"):
        variable = name if name in environ else name.upper()
        proxy = environ.get(variable, "").strip()
        if proxy:
            return None if _direct(host, port, _first(environ, "no_proxy")) else (proxy, variable)
    return None


def _first(environ: Mapping[str, str], name: str) -> str:
    return environ[name] if name in environ else environ.get(name.upper(), "")


def _direct(host: str, port: int, listed: str) -> bool:
    host = host.rstrip(".").lower()
    return any(_fits(entry.lower(), host, port) for entry in listed.replace(",", " ").split())


def _fits(entry: str, host: str, port: int) -> bool:
    if entry == "*":
        return True
    named, wanted = _split(entry)
    if wanted and wanted != str(port):
        return False
    try:
        return ip_address(host) in ip_network(named, strict=False)
    except ValueError:  # at least one of them is a name
        name = named.removeprefix("*").strip(".")
        return bool(name) and (host == name or host.endswith(f".{name}"))


def _split(entry: str) -> tuple[str, str]:
    """Return an entry's host and port, the port empty where there is none."""
    if entry.startswith("["):  # an IPv6 address
        host, _, rest = entry[1:].partition("]")
        return host, rest.removeprefix(":")
    if entry.count(":") == 1:
        host, _, port = entry.partition(":")
        return host, port
    return entry, ""
