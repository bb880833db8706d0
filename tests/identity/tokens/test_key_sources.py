"""Documents with keys, from a file and from an address on this machine."""

from __future__ import annotations

import asyncio
import ssl
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
import trustme
from aiohttp import web

from gemini_backend import masking
from gemini_backend.config.sections.auth import JwtOptions
from gemini_backend.identity.tokens import key_sources
from gemini_backend.identity.tokens.key_set import UnusableKeysError
from gemini_backend.identity.tokens.key_sources import (
    FILE_SECONDS,
    MAX_BYTES,
    FileKeys,
    UrlKeys,
    source_of,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def serving(handler: Handler, tls: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    """Serve on a free port; yield the address."""
    site = web.Application()
    site.router.add_get("/{any:.*}", handler)
    runner = web.AppRunner(site, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
    port = runner.addresses[0][1]
    try:
        yield f"{'https' if tls else 'http'}://127.0.0.1:{port}/keys"
    finally:
        await runner.cleanup()


def keys_at(url: str, ca_file: str = "", environ: dict[str, str] | None = None) -> UrlKeys:
    """Return the source at an address."""
    return UrlKeys(JwtOptions(jwks_url=url, jwks_ca_file=ca_file), environ or {})


async def why(source: Any) -> str:
    """Return why a source cannot be read."""
    with pytest.raises(UnusableKeysError) as error:
        await source.read()
    return str(error.value)


def answering(**answer: Any) -> Handler:
    """Return a handler that answers so."""

    async def handler(_request: web.Request) -> web.Response:
        return web.Response(**answer)

    return handler


async def test_an_address_is_read() -> None:
    """What it answers is the document."""
    async with serving(answering(body=b"{}")) as url:
        assert b"{}" == await keys_at(url).read()


async def test_a_redirect_is_not_followed() -> None:
    """An address that redirects is refused, wherever it leads; the message says what to set."""
    asked = []

    async def handler(request: web.Request) -> web.Response:
        asked.append(request.path)
        raise web.HTTPFound("/evil")

    async with serving(handler) as url:
        assert "redirects are not followed" in await why(keys_at(url))
        assert ["/keys"] == asked


@pytest.mark.parametrize("status", [204, 404, 500])
async def test_only_200_is_an_answer(status: int) -> None:
    """Any other status is a failure, whatever the body is."""
    async with serving(answering(status=status)) as url:
        assert f"it answered with HTTP status {status}" == await why(keys_at(url))


async def test_an_answer_is_bounded() -> None:
    """A document that is too large is refused; an endless one is not read to its end."""
    sent = 0

    async def endless(request: web.Request) -> web.StreamResponse:
        nonlocal sent
        answer = web.StreamResponse()
        await answer.prepare(request)
        try:
            while sent < 100 * MAX_BYTES:
                await answer.write(b"x" * 65_536)
                sent += 65_536
        except ConnectionError:
            pass
        return answer

    async with serving(endless) as url:
        assert "larger than" in await why(keys_at(url))
    assert sent < 100 * MAX_BYTES


async def test_a_slow_answer_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """An address that does not answer in time is a failure."""
    monkeypatch.setattr(key_sources, "TIMEOUT_SECONDS", 0.05)

    async def silent(_request: web.Request) -> web.Response:
        await asyncio.sleep(1)
        return web.Response()

    async with serving(silent) as url:
        assert "no answer within" in await why(keys_at(url))


async def test_nobody_is_there() -> None:
    """A refused connection is a failure that says so."""
    async with serving(answering()) as url:
        pass
    assert "no connection" in await why(keys_at(url))


async def test_a_certificate_must_be_trusted(tmp_path: Path) -> None:
    """The authorities of `jwks_ca_file` are trusted; without it the certificate is refused."""
    authority, server = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(server)
    file = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(file)
    async with serving(answering(body=b"{}"), server) as url:
        assert b"{}" == await keys_at(url, str(file)).read()
        assert "auth.jwt.jwks_ca_file" in await why(keys_at(url))
        assert "cannot be read" in await why(keys_at(url, str(tmp_path / "none.pem")))


async def test_a_proxys_password_is_not_told() -> None:
    """A proxy of the environment is used for https; its password is in no message."""
    async with serving(answering(status=407)) as url:
        proxy = url.replace("http://", "http://user:hunter2secret@").removesuffix("/keys")
        source = keys_at("https://issuer.example.com/keys", environ={"HTTPS_PROXY": proxy})
        said = await why(source)
    assert "hunter2secret" not in said + source.name
    assert "hunter2secret" not in masking.text("it is hunter2secret")


def test_what_messages_call_an_address() -> None:
    """The query of an address, which may have a key, is not shown."""
    assert "https://h/p" == keys_at("https://h/p?key=secret").name


async def test_a_file_is_read(tmp_path: Path) -> None:
    """Its content, as it is now; an error of the system says what is wrong."""
    file = tmp_path / "keys"
    source = FileKeys(str(file), 300.0)
    assert FILE_SECONDS == source.seconds
    assert "cannot be read" in await why(source)
    file.write_bytes(b"one")
    assert b"one" == await source.read()
    file.write_bytes(b"two")
    assert b"two" == await source.read()
    file.write_bytes(b"x" * (MAX_BYTES + 1))
    assert "larger than" in await why(source)


def test_which_source_it_is() -> None:
    """A file where one is named, otherwise the address."""
    assert isinstance(source_of(JwtOptions(jwks_file="f"), {}), FileKeys)
    assert isinstance(source_of(JwtOptions(jwks_url="https://h/k"), {}), UrlKeys)
