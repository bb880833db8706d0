"""The proxy through which the model API is reached."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

from gemini_backend.errors import ServiceError, Unreachable

_AUTHENTICATION_REQUIRED = 407
_REFUSALS = range(400, 500)


class ProxyAddressError(ValueError):
    """A text is no address of a proxy; says why without repeating it."""


@dataclass(frozen=True, slots=True)
class Proxy:
    """A way out by HTTP: CONNECT for https addresses, absolute addresses for http ones.

    Attributes:
        address: Scheme, host and port; nothing secret.
        authorization: Value of the header `Proxy-Authorization`, never shown; empty for none.
    """

    address: str
    authorization: str = field(default="", repr=False)

    @classmethod
    def of(cls, text: str) -> Proxy:
        """Read `[http[s]://][USER:PASSWORD@]HOST[:PORT]`, as the usual variables have it.

        Raises:
            ProxyAddressError: it is no such address.
        """
        if not text.isprintable() or " " in text:
            msg = "it contains spaces or characters that are not allowed in an address"
            raise ProxyAddressError(msg)
        try:
            parts = urlsplit(text if "://" in text else f"http://{text}")
            host, port = parts.hostname, parts.port
        except ValueError:  # its words repeat the text, which may hold a password
            msg = "it is not the address of a proxy"
            raise ProxyAddressError(msg) from None
        if parts.scheme not in {"http", "https"}:
            msg = (
                f"it names a proxy of the kind {parts.scheme}, and only http and https are "
                "supported"
            )
            raise ProxyAddressError(msg)
        if not host or port == 0 or parts.query or parts.fragment or parts.path not in {"", "/"}:
            msg = "it is not the address of a proxy"
            raise ProxyAddressError(msg)
        host = f"[{host}]" if ":" in host else host
        address = f"{parts.scheme}://{host}:{port or (443 if parts.scheme == 'https' else 80)}"
        if parts.username is None and parts.password is None:
            return cls(address)
        user = f"{unquote(parts.username or '')}:{unquote(parts.password or '')}"
        return cls(address, "Basic " + b64encode(user.encode()).decode())


def refused_by(proxy: Proxy, status: int) -> ServiceError:
    """Return the error for a proxy that answers a request for the way with this HTTP status."""
    if status == _AUTHENTICATION_REQUIRED:
        what = "it requires a user and a password; put them into upstream.gemini.proxy_url"
    elif status in _REFUSALS:
        what = "its rules forbid the connection; allow the model API's host there"
    else:
        what = "it cannot reach the model API; retry, and check the proxy if it persists"
    return Unreachable(
        f"the proxy at {proxy.address} refuses the connection to the model API (HTTP {status}): "
        f"{what}",
        metadata={"proxy_status": str(status)},
    ).as_lasting(when=status in _REFUSALS)
