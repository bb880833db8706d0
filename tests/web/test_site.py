"""The pages and their port.

Covers: web/accepting.py, web/listener.py, web/probes.py
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import aiohttp
import pytest

from gemini_backend.models.listing import UpstreamModel
from gemini_backend.telemetry.events import SILENT
from gemini_backend.web.accepting import Admission
from gemini_backend.web.listener import WebListener
from gemini_backend.web.probes import probes_of
from gemini_backend.web.site import site_of
from tests.support.configs import load
from tests.support.layers.service_parts import Board, board_of, serving
from tests.support.messages.calls import EXECUTE
from tests.support.messages.events import arrived

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from gemini_backend.config.network.listen import Listen
    from gemini_backend.telemetry.events import Door
    from tests.support.clock import FakeClock


def listener_of(board: Board, **settings: str) -> WebListener:
    """Return the port of the pages."""
    return WebListener(site_of(board.metrics, board.reporter), admission(**settings))


def admission(door: Door = "web", **settings: str) -> Admission:
    """Return what a port goes by, on a free port of this machine."""
    given = {"LISTEN": "127.0.0.1:0", "PROBE_LISTEN": "127.0.0.1:0", **settings}
    environ = {f"GEMINI_BACKEND_WEB__{name}": value for name, value in given.items()}
    return Admission(door, load(None, environ).web, SILENT, lambda: None)


@pytest.fixture
def board(clock: FakeClock) -> Board:
    """A serving server."""
    return serving(board_of(clock, UpstreamModel("models/a")))


@pytest.fixture
async def address(board: Board) -> AsyncIterator[Listen]:
    """Where the pages are."""
    listener = listener_of(board)
    yield await listener.start()
    await listener.aclose()


async def _get(address: Listen, path: str) -> tuple[int, str, str]:
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"http://{address}{path}") as response,
    ):
        return response.status, response.headers["Content-Type"], await response.text()


async def test_metrics_are_prometheus_text(board: Board, address: Listen) -> None:
    """Prometheus gets its text, with its content type."""
    board.bus.publish(arrived(EXECUTE))
    status, kind, text = await _get(address, "/metrics")
    assert (status, kind) == (200, "text/plain; version=0.0.4; charset=utf-8")
    assert f'gemini_backend_rpcs_in_flight{{method="{EXECUTE}"}} 1.0' in text


async def test_liveness_is_not_readiness(board: Board, address: Listen) -> None:
    """A draining server is alive and not ready, and says so."""
    status, kind, text = await _get(address, "/readyz")
    assert (status, kind) == (200, "application/json")
    assert json.loads(text)["state"] == "healthy"
    board.lifecycle.drain()
    status, _, text = await _get(address, "/readyz")
    assert (status, json.loads(text)["message"]) == (503, "the server is draining")
    assert (await _get(address, "/healthz"))[0] == 200


async def test_index_names_the_pages(address: Listen) -> None:
    """The index lists the pages, and there are no others."""
    _, _, text = await _get(address, "/")
    for path in ("/metrics", "/healthz", "/readyz"):
        assert path in text
        assert (await _get(address, path))[0] == 200
    assert (await _get(address, "/etc/passwd"))[0] == 404


async def test_a_taken_port_names_the_fix(board: Board, address: Listen) -> None:
    """A port that is taken is refused with the setting to change."""
    listener = listener_of(board, LISTEN=str(address))
    with pytest.raises(OSError, match=r"set web\.listen"):
        await listener.start()
    await listener.aclose()


async def test_probes_say_one_word_and_nothing_else() -> None:
    """The port of probes has two pages, and no other path, method or header says more."""
    ready = [True]
    listener = WebListener(probes_of(lambda: ready[0]), admission("probe"))
    where = await listener.start()
    assert (200, "ok\n") == (await _get(where, "/healthz"))[::2]
    assert (200, "ready\n") == (await _get(where, "/readyz"))[::2]
    ready[0] = False
    assert (503, "not ready\n") == (await _get(where, "/readyz"))[::2]
    for path in ("/", "/metrics", "/readyz/", "/readyz/x", "//readyz", "/%2e%2e/metrics"):
        assert 404 == (await _get(where, path))[0], path
    await listener.aclose()
