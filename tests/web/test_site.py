"""The pages and their port.

Covers: web/listener.py
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import aiohttp
import pytest

from gemini_backend.models.listing import UpstreamModel
from gemini_backend.web.listener import WebListener
from gemini_backend.web.site import site_of
from tests.support.configs import load
from tests.support.layers.service_parts import Board, board_of, serving
from tests.support.messages.calls import EXECUTE
from tests.support.messages.events import arrived

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from gemini_backend.config.network.listen import Listen
    from tests.support.clock import FakeClock

FREE_PORT = load(None, {"GEMINI_BACKEND_WEB__LISTEN": "127.0.0.1:0"})


@pytest.fixture
def board(clock: FakeClock) -> Board:
    """A serving server."""
    return serving(board_of(clock, UpstreamModel("models/a")))


@pytest.fixture
async def address(board: Board) -> AsyncIterator[Listen]:
    """Where the pages are."""
    listener = WebListener(site_of(board.metrics, board.reporter))
    yield await listener.start(FREE_PORT)
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
    config = load(None, {"GEMINI_BACKEND_WEB__LISTEN": str(address)})
    listener = WebListener(site_of(board.metrics, board.reporter))
    with pytest.raises(OSError, match=r"set web\.listen"):
        await listener.start(config)
    await listener.aclose()


async def test_missing_certificates_name_the_settings(board: Board) -> None:
    """TLS without readable files is refused with the settings to look at."""
    environ = {
        "GEMINI_BACKEND_WEB__TLS": "true",
        "GEMINI_BACKEND_SERVER__TLS_CERT_FILE": "/nowhere/c.pem",
        "GEMINI_BACKEND_SERVER__TLS_KEY_FILE": "/nowhere/k.pem",
    }
    listener = WebListener(site_of(board.metrics, board.reporter))
    with pytest.raises(OSError, match=r"server\.tls_"):
        await listener.start(load(None, environ))
    await listener.aclose()
