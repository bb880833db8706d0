"""The simulator as a server that can be started and stopped."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

from aiohttp import web

from gemini_backend.upstream.simulator.control import PREFIX, Control
from gemini_backend.upstream.simulator.engines import load
from gemini_backend.upstream.simulator.journal import RequestJournal
from gemini_backend.upstream.simulator.options import SimulatorOptions
from gemini_backend.upstream.simulator.service import Service

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from gemini_backend.upstream.simulator.engines import Engine
    from gemini_backend.upstream.simulator.faults import Script
    from gemini_backend.upstream.simulator.wire import Json

# How long open answers may take to notice that they were cancelled, in seconds.
_FAREWELL = 1.0


class Simulator:
    """Gemini's REST API, on a port of this machine.

    Use it as an asynchronous context manager, or call ``start`` and ``aclose``.
    """

    def __init__(self, options: SimulatorOptions | None = None) -> None:
        """Builds it; nothing is opened yet.

        Args:
            options: How it is set up.

        Raises:
            EngineError: If the engine does not exist, or what it needs is not installed.
        """
        self._options = options or SimulatorOptions()
        self._journal = RequestJournal(self._options)
        self._control = Control(
            self._options.script, self._journal, self._options.now, self._count_connections
        )
        self._engine: Engine = load(self._options.engine)
        self._service = Service(self._options, self._engine, self._journal, self._control)
        self._runner: web.ServerRunner | None = None
        self._running: set[asyncio.Task[object]] = set()
        self._address = ("", 0)

    @property
    def host(self) -> str:
        """The address that it listens on."""
        return self._address[0]

    @property
    def port(self) -> int:
        """The port that it listens on; 0 before ``start``."""
        return self._address[1]

    @property
    def url(self) -> str:
        """Where it is, such as ``http://127.0.0.1:8081``, without a path."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> None:
        """Listens; port 0 takes a free one.

        Raises:
            OSError: If the address cannot be had.
        """
        # A client that goes away must be noticed at once, not at the next write.
        loop = asyncio.get_running_loop()
        make = partial(web.BaseRequest, loop=loop, client_max_size=self._options.max_body)
        server = web.Server(self._handle, request_factory=make, handler_cancellation=True)
        runner = web.ServerRunner(server, shutdown_timeout=_FAREWELL)
        await runner.setup()
        self._runner = runner
        try:
            await web.TCPSite(runner, host, port).start()
        except OSError:
            await runner.cleanup()
            self._runner = None
            raise
        self._address = runner.addresses[0][:2]

    async def aclose(self) -> None:
        """Ends all answers, closes all connections and the port; may be called twice."""
        runner, self._runner = self._runner, None
        if runner is None:
            return
        for site in list(runner.sites):
            await site.stop()
        for task in list(self._running):
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
        await runner.cleanup()
        self._engine.close()

    def use(self, script: Script) -> None:
        """Takes another script from now on."""
        self._control.use(script)

    def requests(self, limit: int = 1_000_000) -> list[Json]:
        """The last requests, the newest last, as ``/_simulator/requests`` shows them."""
        return self._journal.requests(limit)

    def stats(self) -> Json:
        """Counts, as ``/_simulator/stats`` shows them."""
        return {**self._journal.stats(), "connections_open": self._count_connections()}

    async def __aenter__(self) -> Self:
        """Starts on a free port of the loopback address."""
        if self._runner is None:
            await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stops."""
        await self.aclose()

    def _count_connections(self) -> int:
        server = self._runner.server if self._runner else None
        return len(server.connections) if server else 0

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        task = asyncio.current_task()
        if task is not None:
            self._running.add(task)
        try:
            if request.path.startswith(PREFIX):
                return await self._control.handle(request)
            return await self._service.handle(request)
        finally:
            if task is not None:
                self._running.discard(task)
