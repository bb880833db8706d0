"""The HTTP port: opened, and closed again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp import web

from gemini_backend.config.network.listen import Listen, parse_listen
from gemini_backend.config.tls import tls_context

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
        context = tls_context(config.server) if config.web.tls else None
        await self._runner.setup()
        tcp = web.TCPSite(self._runner, listen.host, listen.port, ssl_context=context)
        try:
            await tcp.start()
        except OSError as error:
            msg = (
                f"cannot listen on {listen}: the port is in use, or the address does not belong to "
                "this machine; set web.listen, or web.enabled to false"
            )
            raise OSError(msg) from error
        host, port, *_ = self._runner.addresses[0]
        return Listen(str(host), int(port))

    async def aclose(self) -> None:
        """Close the port and whatever is open."""
        await self._runner.cleanup()
