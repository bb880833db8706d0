"""The pages of the probe port: whether the process is alive, and whether it takes calls."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

from aiohttp import web

if TYPE_CHECKING:
    from collections.abc import Callable

_HEADERS = {"Cache-Control": "no-store"}


def probes_of(ready: Callable[[], bool]) -> web.Application:
    """Return `/healthz` and `/readyz`, one word each; anybody may read them.

    Args:
        ready: Says whether the server takes calls.
    """

    async def alive(_request: web.Request) -> web.Response:
        return web.Response(text="ok\n", headers=_HEADERS)

    async def readiness(_request: web.Request) -> web.Response:
        if ready():
            return web.Response(text="ready\n", headers=_HEADERS)
        status = HTTPStatus.SERVICE_UNAVAILABLE
        return web.Response(status=status, text="not ready\n", headers=_HEADERS)

    site = web.Application(client_max_size=1)
    site.router.add_get("/healthz", alive)
    site.router.add_get("/readyz", readiness)
    return site
