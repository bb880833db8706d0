"""The HTTP port: opened, and closed again."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import TYPE_CHECKING

from aiohttp import web

from gemini_backend.config.listen import Listen, parse_listen

if TYPE_CHECKING:
    from gemini_backend.config import Config

# Pages are quick: who still waits after this long is cut off.
_CLOSE_SECONDS = 1.0


class WebListener:
    """Serves an application at `web.listen`."""

    def __init__(self, site: web.Application) -> None:
        """Serve `site` once told to."""
        self._runner = web.AppRunner(site, access_log=None, shutdown_timeout=_CLOSE_SECONDS)

    async def start(self, config: Config) -> Listen:
        """Open the port; return the real one.

        Raises:
            OSError: the port is taken, or a certificate cannot be read; the message says which.
        """
        listen = parse_listen("web.listen", config.web.listen)
        context = _tls(config) if config.web.tls else None
        await self._runner.setup()
        tcp = web.TCPSite(self._runner, listen.host, listen.port, ssl_context=context)
        try:
            await tcp.start()
        except OSError as error:
            msg = (
                f"cannot listen on {listen}: the port is taken, or the address is not this "
                "machine's; set web.listen, or web.enabled to false"
            )
            raise OSError(msg) from error
        host, port, *_ = self._runner.addresses[0]
        return Listen(str(host), int(port))

    async def aclose(self) -> None:
        """Close the port and whatever is open."""
        await self._runner.cleanup()


def _tls(config: Config) -> ssl.SSLContext:
    """Return TLS as gRPC has it: the same certificate, the same demands on clients."""
    server = config.server
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(_file(server.tls_cert_file), _file(server.tls_key_file))
        if server.tls_client_ca_file:
            context.load_verify_locations(_file(server.tls_client_ca_file))
            context.verify_mode = ssl.CERT_REQUIRED
    except (OSError, ssl.SSLError) as error:
        msg = f"cannot read the certificates of server.tls_*: {error}; check the files"
        raise OSError(msg) from error
    return context


def _file(path: str) -> Path:
    return Path(path).expanduser()
