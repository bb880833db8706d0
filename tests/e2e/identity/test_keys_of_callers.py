"""API keys from the command to the call, as an operator and a program use them."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

import pytest

from gemini_backend_client import AsyncClient, ForbiddenError, UnauthenticatedError
from tests.support.servers.guarded import guarded, key_made, state_of
from tests.support.servers.process import run_backend, simulating

if TYPE_CHECKING:
    from pathlib import Path

ANN, ADA = "acme/ann", "house/ada"
KEYS = {ANN: ("caller",), ADA: ("admin",)}


async def keys(folder: Path, *words: str) -> str:
    """Return what `gemini-backend keys` prints, which must not fail."""
    done = await run_backend("keys", *words, env=state_of(folder))
    assert (0, "") == (done.code, done.stderr), done
    return done.stdout


async def test_a_key_from_its_creation_to_its_end(tmp_path: Path) -> None:
    """Made, used, rotated and revoked by the command, all of it beside the running server."""
    async with guarded(tmp_path, {}) as place:
        target = place.server.grpc
        first = await key_made(tmp_path, ANN, "caller")
        name = f"keys/{first.split('_')[1]}"
        called = await run_backend("call", "hi", "--target", target, "--key", first)
        assert 0 == called.code, called
        by_environment = await run_backend(
            "keys", "whoami", "--target", target, env={"GEMINI_BACKEND_KEY": first}
        )
        assert ("acme", "ann", name) == tuple(
            line.split()[-1]
            for line in by_environment.stdout.splitlines()
            if line.startswith(("tenant", "name", "key"))
        )
        second = (await keys(tmp_path, "rotate", name, "--overlap", "1h")).strip()
        async with (
            AsyncClient(target, api_key=first) as before,
            AsyncClient(target, api_key=second) as after,
        ):
            assert (await before.who_am_i()) == (await after.who_am_i())
            await keys(tmp_path, "revoke", name)
            began = time.monotonic()
            with pytest.raises(UnauthenticatedError, match="gemini-backend keys create"):
                while time.monotonic() - began < 5:
                    await after.who_am_i()
            with pytest.raises(UnauthenticatedError):
                await before.who_am_i()
        refused = await run_backend("call", "hi", "--target", target, "--key", second)
        assert (1, True) == (refused.code, "CALLER_UNAUTHENTICATED" in refused.stderr)


async def test_a_revocation_by_the_command_ends_an_open_stream(tmp_path: Path) -> None:
    """Within some seconds, with the reason; the streams of other keys go on."""
    async with simulating("--chunk-delay", "3") as api:
        upstream = {
            "UPSTREAM__GEMINI__BASE_URL": api.http,
            "UPSTREAM__GEMINI__API_KEYS": "k" * 39,
            "COALESCE__MODE": "off",
        }
        async with guarded(tmp_path, KEYS, **upstream) as place:
            target = place.server.grpc
            async with (
                AsyncClient(target, api_key=place.secrets[ANN], retry=None) as ann,
                AsyncClient(target, api_key=place.secrets[ADA]) as ada,
            ):
                hers, theirs = (aiter(one.execute("hello")) for one in (ann, ada))
                await anext(hers)
                await anext(theirs)
                await keys(tmp_path, "revoke", place.secrets[ANN])
                began = time.monotonic()
                with pytest.raises(UnauthenticatedError, match="was revoked"):
                    async for _ in hers:
                        assert time.monotonic() - began < 6
                assert await anext(theirs)


async def test_an_administrator_works_through_the_server(tmp_path: Path) -> None:
    """`--target` does what the files do, for admins only."""
    async with guarded(tmp_path, KEYS) as place:
        target, admin = place.server.grpc, {"GEMINI_BACKEND_KEY": place.secrets[ADA]}

        async def there(*words: str) -> str:
            done = await run_backend("keys", *words, "--target", target, env=admin)
            assert (0, "") == (done.code, done.stderr), done
            return done.stdout

        secret = (await there("create", "--tenant", "acme", "--name", "bob")).strip()
        async with AsyncClient(target, api_key=secret) as bob:
            assert "bob" == (await bob.who_am_i()).name
            with pytest.raises(ForbiddenError, match="requires the role admin"):
                await bob.keys.create("acme")
        listed = [json.loads(line) for line in (await there("list", "--json")).splitlines()]
        assert ["bob", "ada", "ann"] == [one["principal"] for one in listed]
        assert await there("list") == await keys(tmp_path, "list")
        await there("revoke", secret)
        async with AsyncClient(target, api_key=secret) as bob:
            with pytest.raises(UnauthenticatedError):
                await bob.who_am_i()


async def test_keys_outlive_the_server(tmp_path: Path) -> None:
    """A server that starts anew knows them, and when they were last used."""
    async with guarded(tmp_path, KEYS) as place:
        secret = place.secrets[ANN]
        async with AsyncClient(place.server.grpc, api_key=secret) as ann:
            await ann.who_am_i()
        assert 0 == await place.server.stop()
    assert "last use:              2" in await keys(tmp_path, "get", secret)
    async with (
        guarded(tmp_path, {}) as place,
        AsyncClient(place.server.grpc, api_key=secret) as ann,
    ):
        assert "ann" == (await ann.who_am_i()).name


async def test_the_first_key_can_be_made_through_the_server(tmp_path: Path) -> None:
    """Without any method of authentication everybody on this machine is the anonymous admin."""
    async with guarded(tmp_path, {}, AUTH__METHODS="") as place:
        target = place.server.grpc
        made = await run_backend("keys", "create", "--tenant", "house", "--target", target)
        assert 0 == made.code, made
        async with AsyncClient(target) as anybody:
            assert 4 == len((await anybody.who_am_i()).roles)
    async with (
        guarded(tmp_path, {}) as place,
        AsyncClient(place.server.grpc, api_key=made.stdout.strip()) as first,
    ):
        assert "house" == (await first.who_am_i()).tenant
