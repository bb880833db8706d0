"""Pages by who asks for them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request
from multidict import CIMultiDict

from gemini_backend.errors import Unauthenticated
from gemini_backend.identity.authenticator import Authenticator
from gemini_backend.identity.guard import Guard
from gemini_backend.principal import Principal, Role, granted
from gemini_backend.telemetry.events import SILENT
from gemini_backend.web.accepting import Admission
from gemini_backend.web.guard import guarding
from gemini_backend.web.listener import WebListener
from gemini_backend.web.site import site_of
from tests.support.configs import load
from tests.support.layers.service_parts import board_of, serving

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from gemini_backend.config.network.listen import Listen
    from gemini_backend.identity.credentials import Certificate
    from tests.support.clock import FakeClock

FREE_PORT = load(None, {"GEMINI_BACKEND_WEB__LISTEN": "127.0.0.1:0"}).web
KEYS = {f"gbk_{role.value}": Principal("acme", role.value, granted(role)) for role in Role}


class Keys:
    """Knows a key of each role."""

    def known(self, secret: str) -> Principal | None:
        return KEYS.get(secret)

    async def verify(self, secret: str) -> Principal:
        if secret not in KEYS:
            raise Unauthenticated("the API key is not accepted; check it")
        return KEYS[secret]

    async def failed(self, _peer: str) -> None:
        """Slow nobody down."""


@pytest.fixture
async def address(clock: FakeClock) -> AsyncIterator[Listen]:
    """Where the pages are, with health open."""
    board = serving(board_of(clock))
    keys = Keys()
    guard = Guard(Authenticator(api_keys=keys), ("health",), keys, SILENT)
    site = site_of(board.metrics, board.reporter, guarding(guard))
    listener = WebListener(site, Admission("web", FREE_PORT, SILENT, lambda: None))
    yield await listener.start()
    await listener.aclose()


async def get(address: Listen, path: str, headers: Mapping[str, str]) -> aiohttp.ClientResponse:
    """Return a page's answer, read to its end."""
    url = f"http://{address}{path}"
    async with aiohttp.ClientSession() as session, session.get(url, headers=headers) as response:
        await response.read()
        return response


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        ("/healthz", {}, 200),
        ("/readyz", {}, 200),
        ("/readyz", {"Authorization": "Bearer gbk_wrong"}, 200),
        ("/metrics", {}, 401),
        ("/metrics", {"Authorization": "Bearer gbk_wrong"}, 401),
        ("/metrics", {"Authorization": "Basic gbk_viewer"}, 401),
        ("/metrics?key=gbk_viewer", {}, 401),
        ("/metrics", {"Authorization": "Bearer gbk_caller"}, 403),
        ("/metrics", {"Authorization": "Bearer gbk_viewer"}, 200),
        ("/metrics", {"X-Api-Key": "gbk_operator"}, 200),
        ("/metrics/", {}, 401),
        ("/nothing", {}, 401),
        ("/nothing", {"X-Api-Key": "gbk_caller"}, 404),
        ("//metrics", {}, 401),
        ("/%6detrics", {}, 401),
    ],
)
async def test_a_page_is_for_those_who_may(
    address: Listen, path: str, headers: dict[str, str], status: int
) -> None:
    """401 without a good credential, 403 without the role; what does not exist is not told."""
    assert status == (await get(address, path, headers)).status


@pytest.mark.parametrize("name", ["Authorization", "X-Api-Key"])
async def test_several_credentials_of_one_name_are_none(address: Listen, name: str) -> None:
    """Whichever of them is good: a proxy in front might have taken the other one."""
    values = ["gbk_viewer", "gbk_wrong"]
    for pair in (values, values[::-1]):
        headers = CIMultiDict([(name, value) for value in pair])
        assert 401 == (await get(address, "/metrics", headers)).status


async def test_readiness_says_no_more_than_ready_to_strangers(address: Listen) -> None:
    """Its components are shown to those who are authenticated."""
    stranger = await get(address, "/readyz", {})
    assert {"ready": True} == await stranger.json()
    caller = await get(address, "/readyz", {"X-Api-Key": "gbk_caller"})
    assert {"ready", "state", "message", "components"} == set(await caller.json())


async def test_a_refusal_names_the_fix_and_is_not_kept(address: Listen) -> None:
    """In words, with the scheme to use."""
    refused = await get(address, "/metrics", {})
    assert ("Bearer", "no-store") == (
        refused.headers["WWW-Authenticate"],
        refused.headers["Cache-Control"],
    )
    assert "authorization: Bearer KEY" in await refused.text()


async def test_a_certificate_that_cannot_be_read_is_refused() -> None:
    """As a failed authentication, not as an error of the server."""

    def unreadable(_request: web.Request) -> Certificate | None:
        raise Unauthenticated("the client certificate cannot be read")

    async def page(_request: web.Request) -> web.Response:
        return web.Response()

    keys = Keys()
    guard = Guard(Authenticator(api_keys=keys), (), keys, SILENT)
    answer: Any = await guarding(guard, unreadable)(make_mocked_request("GET", "/metrics"), page)
    assert 401 == answer.status
