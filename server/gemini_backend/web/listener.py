"""An HTTP port: opened, and closed again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aiohttp import web

from gemini_backend.config.network.listen import Listen, parse_listen
from gemini_backend.web.accepting import Acceptor
from gemini_backend.web.connection import head, noting

if TYPE_CHECKING:
    from gemini_backend.web.accepting import Admission


# Pages are quick: who still waits after this long is cut off.
_CLOSE_SECONDS = 1.0


class WebListener:
    """Serves an application at `web.listen`, or the probes at `web.probe_listen`."""

    def __init__(self, site: web.Application, admission: Admission) -> None:
        """Serve `site` once told to."""
        site.middlewares.insert(0, noting)
        site.on_response_prepare.append(head)
        self._runner = web.AppRunner(site, access_log=None, shutdown_timeout=_CLOSE_SECONDS)
        self._admission = admission
        self._acceptor: Acceptor | None = None

    async def start(self) -> Listen:
        """Open the port; return the real one.

        Raises:
            OSError: the port is taken; the message names the setting.
        """
        options, probes = self._admission.options, self._admission.door == "probe"
        setting = "web.probe_listen" if probes else "web.listen"
        listen = parse_listen(setting, options.probe_listen if probes else options.listen)
        await self._runner.setup()
        server: Any = self._runner.server  # there is one once it was set up
        self._acceptor = Acceptor(server, self._admission)
        try:
            return await self._acceptor.open(listen)
        except OSError as error:
            other = "" if probes else ", or web.enabled to false"
            msg = (
                f"cannot listen on {listen}: the port is in use, or the address does not belong to "
                f"this machine; set {setting}{other}"
            )
            raise OSError(msg) from error

    async def aclose(self) -> None:
        """Close the port and whatever is open."""
        if self._acceptor is not None:
            await self._acceptor.aclose()
        await self._runner.cleanup()
