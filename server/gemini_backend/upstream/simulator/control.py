"""The endpoints under ``/_simulator/``: what came in, and what shall go wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from aiohttp import web

from gemini_backend.upstream.simulator.faults import FAULTS, Script, ScriptError
from gemini_backend.upstream.simulator.faults.script import Rules, parse_script
from gemini_backend.upstream.simulator.limits import Quotas
from gemini_backend.upstream.simulator.wire import encode

if TYPE_CHECKING:
    from collections.abc import Callable

    from gemini_backend.upstream.simulator.journal import RequestJournal

PREFIX = "/_simulator/"


class Control:
    """The script at work, and the endpoints that show and change it."""

    def __init__(
        self,
        script: Script,
        journal: RequestJournal,
        now: Callable[[], float],
        connections: Callable[[], int],
    ) -> None:
        """Starts with ``script``.

        Args:
            script: Faults and quotas from the start.
            journal: What is shown.
            now: The clock that quotas go by.
            connections: How many connections are open.
        """
        self._journal = journal
        self._now = now
        self._connections = connections
        self.use(script)

    def use(self, script: Script) -> None:
        """Takes ``script`` from now on; all its counts begin anew."""
        self.rules = Rules(script)
        self.quotas = Quotas(script.limits, self._now)

    async def handle(self, request: web.BaseRequest) -> web.Response:
        """One control request."""
        what = (request.method, request.path.removeprefix(PREFIX))
        if what == ("PUT", "script"):
            return await self._put(request)
        if what == ("DELETE", "script"):
            self.use(Script())
            return _json({})
        shown = self._shown(request) if request.method == "GET" else None
        if shown is not None:
            return _json(shown)
        wanted = "GET requests, stats, faults or script; PUT or DELETE script"
        return _json({"error": f"there is no such control endpoint: {wanted}"}, 404)

    def _shown(self, request: web.BaseRequest) -> object:
        """What a GET shows; None if there is no such thing."""
        what = request.path.removeprefix(PREFIX)
        if what == "requests":
            limit = request.query.get("limit", "1000000")
            count = int(limit) if limit.isdecimal() else 0
            return {"requests": self._journal.requests(count)}
        if what == "stats":
            return {**self._journal.stats(), "connections_open": self._connections()}
        return {"faults": FAULTS, "script": self.rules.script}.get(what)

    async def _put(self, request: web.BaseRequest) -> web.Response:
        try:
            script = parse_script(await request.read())
        except ScriptError as error:
            return _json({"error": str(error)}, 400)
        self.use(script)
        return _json(script)


def _json(payload: object, status: int = 200) -> web.Response:
    body = msgspec.json.format(encode(payload), indent=2) + b"\n"
    return web.Response(body=body, status=status, content_type="application/json")
