"""An HTTP server on a free port whose requests go to one handler."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from aiohttp import web

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable


@asynccontextmanager
async def served(
    answer: Callable[[web.Request], Awaitable[web.StreamResponse]],
    method: str = "*",
    **options: Any,
) -> AsyncIterator[str]:
    """Run it for these requests; yield its address. `options` are those of `web.AppRunner`."""
    app = web.Application(client_max_size=1 << 30)
    app.router.add_route(method, "/{path:.*}", answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1, **options)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0][:2]
        yield f"http://{host}:{port}"
    finally:
        await runner.cleanup()
