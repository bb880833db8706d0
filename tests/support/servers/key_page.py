"""The page on which an issuer publishes its keys, on this machine; a test changes what it says."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from aiohttp import web

from tests.support.issuer import document

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.support.issuer import Signer


class KeyPage:
    """What is published, or the status of an outage; and how often it was asked for."""

    def __init__(self, *signers: Signer) -> None:
        self.url = ""
        self.reads = 0
        self.status = 200
        self.body = document(*signers)

    def publish(self, *signers: Signer) -> None:
        self.body = document(*signers)

    async def answer(self, _request: web.Request) -> web.Response:
        self.reads += 1
        return web.Response(status=self.status, body=self.body, content_type="application/json")


@asynccontextmanager
async def publishing(*signers: Signer) -> AsyncIterator[KeyPage]:
    """Publish keys at a free port until the scope ends."""
    page, site = KeyPage(*signers), web.Application()
    site.router.add_get("/keys", page.answer)
    runner = web.AppRunner(site, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    page.url = f"http://127.0.0.1:{runner.addresses[0][1]}/keys"
    try:
        yield page
    finally:
        await runner.cleanup()
