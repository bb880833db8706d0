"""Where the issuer's keys come from: an address, or a file."""

from __future__ import annotations

import asyncio
import ssl
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Protocol
from urllib.parse import urlsplit

import aiohttp

from gemini_backend import masking
from gemini_backend.config.network.proxies import proxy_for
from gemini_backend.identity.tokens.key_set import UnusableKeysError
from gemini_backend.sizes import KIB

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gemini_backend.config.sections.auth import JwtOptions

MAX_BYTES = 256 * KIB
"""The largest document; a larger one is refused without being read to its end."""
TIMEOUT_SECONDS = 10.0
FILE_SECONDS = 5.0
"""A file is read again at least so often."""

_HEADERS = {"Accept": "application/jwk-set+json, application/json", "Accept-Encoding": "identity"}


class KeySource(Protocol):
    """Gives the document with the keys.

    Attributes:
        name: What messages call it; nothing secret.
        seconds: Interval at which it is asked.
    """

    name: str
    seconds: float

    async def read(self) -> bytes:
        """Return the document, of at most `MAX_BYTES`.

        Raises:
            UnusableKeysError: it cannot be had.
        """
        ...


def source_of(options: JwtOptions, environ: Mapping[str, str]) -> KeySource:
    """Return the source that the options name."""
    if options.jwks_file:
        return FileKeys(options.jwks_file, options.jwks_refresh_seconds)
    return UrlKeys(options, environ)


class FileKeys:
    """A file, which may be replaced while the server runs."""

    def __init__(self, path: str, seconds: float) -> None:
        """Read `path`, every `seconds` or more often."""
        self.name = path
        self.seconds = min(seconds, FILE_SECONDS)
        self._path = Path(path).expanduser()

    async def read(self) -> bytes:
        """Return its content.

        Raises:
            UnusableKeysError: it cannot be read, or is too large.
        """
        return await asyncio.to_thread(self._read)

    def _read(self) -> bytes:
        try:
            with self._path.open("rb") as file:
                found = file.read(MAX_BYTES + 1)
        except OSError as error:
            raise UnusableKeysError(f"it cannot be read ({error.strerror})") from error
        return _bounded(found)


class UrlKeys:
    """An address, asked with a connection of its own each time."""

    def __init__(self, options: JwtOptions, environ: Mapping[str, str]) -> None:
        """Ask `auth.jwt.jwks_url`, through the proxy of the environment if it names one for it."""
        self._url = options.jwks_url
        self._ca_file = options.jwks_ca_file
        self._tls: ssl.SSLContext | None = None
        parts = urlsplit(self._url)
        self.name = f"{parts.scheme}://{parts.netloc}{parts.path}"
        self.seconds = options.jwks_refresh_seconds
        found = proxy_for(self._url, environ) if parts.scheme == "https" else None
        self._proxy = None if found is None else _address_of_proxy(found[0])

    async def read(self) -> bytes:
        """Return what the address answers.

        Raises:
            UnusableKeysError: it cannot be reached or is not trusted, answers anything but 200, a
                redirect included, too much, or not within `TIMEOUT_SECONDS`.
        """
        timeout = aiohttp.ClientTimeout(total=TIMEOUT_SECONDS)
        try:
            if self._tls is None and self._url.startswith("https:"):
                self._tls = await asyncio.to_thread(_trusting, self._ca_file)
            async with (
                aiohttp.ClientSession(auto_decompress=False, timeout=timeout) as session,
                session.get(
                    self._url,
                    allow_redirects=False,
                    headers=_HEADERS,
                    proxy=self._proxy,
                    ssl=self._tls or True,
                ) as answer,
            ):
                return await _body(answer)
        except TimeoutError as error:
            raise UnusableKeysError(f"no answer within {TIMEOUT_SECONDS:.0f} s") from error
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise UnusableKeysError(_why(error)) from error


async def _body(answer: aiohttp.ClientResponse) -> bytes:
    if answer.status != HTTPStatus.OK:
        redirect = answer.status in range(300, 400)
        more = "; redirects are not followed: set the final address" if redirect else ""
        raise UnusableKeysError(f"it answered with HTTP status {answer.status}{more}")
    found = bytearray()
    async for some in answer.content.iter_any():
        found += some
        if len(found) > MAX_BYTES:
            break
    return _bounded(bytes(found))


def _bounded(document: bytes) -> bytes:
    if len(document) > MAX_BYTES:
        raise UnusableKeysError(f"it is larger than {MAX_BYTES // KIB} KiB")
    return document


def _why(error: Exception) -> str:
    """Return why an address cannot be read, without what the library says: that may be a secret."""
    if isinstance(error, aiohttp.ClientConnectorCertificateError | ssl.SSLCertVerificationError):
        return (
            "its certificate is not trusted; set auth.jwt.jwks_ca_file to the authority's "
            "certificates"
        )
    if isinstance(error, aiohttp.ClientSSLError | ssl.SSLError):
        return "TLS failed; check the address and auth.jwt.jwks_ca_file"
    if isinstance(error, aiohttp.ClientConnectorError):
        return f"no connection ({error.os_error.strerror or type(error.os_error).__name__})"
    if isinstance(error, OSError) and error.strerror:
        return f"no connection, or auth.jwt.jwks_ca_file cannot be read ({error.strerror})"
    return f"the exchange failed ({type(error).__name__})"


def _trusting(ca_file: str) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(Path(ca_file).expanduser()) if ca_file else None)


def _address_of_proxy(text: str) -> str:
    """Return the address of a proxy, whose password is masked from now on."""
    address = text if "://" in text else f"http://{text}"
    masking.remember((address,))
    return address
