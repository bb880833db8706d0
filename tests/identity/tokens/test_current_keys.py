"""The issuer's keys are kept current."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

from gemini_backend.errors import StoreUnavailable, Unauthenticated
from gemini_backend.identity.tokens import current_keys
from gemini_backend.identity.tokens.current_keys import RETRY_SECONDS
from gemini_backend.telemetry.health.health_rules import HealthState
from tests.support.clock import settle
from tests.support.issuer import signer
from tests.support.token_parts import Stage


def state(stage: Stage) -> HealthState:
    """Return the state of the component."""
    return stage.keys.component().state


async def test_keys_are_read_at_intervals() -> None:
    """At the start, then every so many seconds."""
    async with Stage() as stage:
        await stage.clock.advance(900)
        assert 4 == stage.source.reads
        assert HealthState.HEALTHY == state(stage)


async def test_an_unknown_key_is_asked_for_once() -> None:
    """A flood of tokens with unknown ids causes one reading per interval, whatever the ids."""
    async with Stage(unknown_key_seconds=10) as stage:
        for interval in range(5):
            for number in range(200):
                with pytest.raises(Unauthenticated):
                    await stage.keys.key_for("RS256", f"{interval}-{number}")
            assert 2 + interval == stage.source.reads
            await stage.clock.advance(10)


async def test_a_new_key_is_found_at_once() -> None:
    """A key that was published a moment ago is asked for by the first token that has it."""
    async with Stage() as stage:
        stage.source.publish(signer(), signer("RS256", "two"))
        assert "two" == (await stage.keys.key_for("RS256", "two")).kid
        assert 2 == stage.source.reads


async def test_concurrent_calls_share_a_reading() -> None:
    """All who miss a key at the same time wait for one answer."""
    async with Stage() as stage:
        stage.source.publish(signer("RS256", "two"))
        stage.source.held = asyncio.Event()
        calls = [asyncio.ensure_future(stage.keys.key_for("RS256", "two")) for _ in range(50)]
        await settle()
        stage.source.held.set()
        assert {"two"} == {key.kid for key in await asyncio.gather(*calls)}
        assert 2 == stage.source.reads


async def test_a_caller_that_leaves_ends_no_reading() -> None:
    """One that is cancelled leaves the answer to the others."""
    async with Stage() as stage:
        stage.source.publish(signer("RS256", "two"))
        stage.source.held = asyncio.Event()
        first, other = (asyncio.ensure_future(stage.keys.key_for("RS256", "two")) for _ in range(2))
        await settle()
        first.cancel()
        await settle()
        stage.source.held.set()
        assert "two" == (await other).kid
        assert 0 == stage.keys._waiting


async def test_calls_that_wait_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the bound a token with an unknown key is refused at once."""
    monkeypatch.setattr(current_keys, "MAX_WAITING", 2)
    async with Stage() as stage:
        stage.source.held = asyncio.Event()
        calls = [asyncio.ensure_future(stage.keys.key_for("RS256", "two")) for _ in range(2)]
        await settle()
        with pytest.raises(Unauthenticated):
            await stage.keys.key_for("RS256", "two")
        stage.source.held.set()
        await asyncio.gather(*calls, return_exceptions=True)


async def test_an_algorithm_that_is_not_accepted_asks_for_nothing() -> None:
    """Only tokens that could be good cause a reading."""
    async with Stage() as stage:
        with pytest.raises(Unauthenticated):
            await stage.keys.key_for("HS256", "two")
        assert 1 == stage.source.reads


async def test_an_outage_keeps_the_keys(caplog: pytest.LogCaptureFixture) -> None:
    """What was read stays in force; the log has one line when it begins and one when it ends."""
    caplog.set_level(logging.INFO)
    async with Stage() as stage:
        caplog.clear()
        stage.source.fail("no connection")
        await stage.clock.advance(300 + 5 * RETRY_SECONDS)
        assert "one" == (await stage.keys.key_for("RS256", "one")).kid
        assert HealthState.DEGRADED == state(stage)
        assert "no connection" in stage.keys.component().message
        stage.source.publish(signer())
        await stage.clock.advance(RETRY_SECONDS)
        assert HealthState.HEALTHY == state(stage)
        lines = [record.message for record in caplog.records]
        assert ["jwks_unavailable", "jwks_available"] == lines


async def test_without_keys_the_fault_is_the_servers() -> None:
    """Until keys were read once, tokens are refused as UNAVAILABLE; then they are accepted."""
    stage = Stage()
    stage.source.fail()
    async with stage:
        assert HealthState.UNHEALTHY == state(stage)
        with pytest.raises(StoreUnavailable) as refused:
            await stage.keys.key_for("RS256", "one")
        assert stage.source.name not in refused.value.message
        stage.source.publish(signer())
        await stage.clock.advance(10)
        assert "one" == (await stage.keys.key_for("RS256", "one")).kid


async def test_the_first_tokens_wait_for_the_first_reading() -> None:
    """A token that comes before the keys have been read waits for them."""
    stage = Stage()
    stage.source.held = asyncio.Event()
    async with stage:
        assert HealthState.UNKNOWN == state(stage)
        call = asyncio.ensure_future(stage.keys.key_for("RS256", "one"))
        await settle()
        stage.source.held.set()
        assert "one" == (await call).kid
        assert 1 == stage.source.reads


async def test_an_empty_set_ends_all_keys() -> None:
    """An issuer that publishes no key any more has revoked them all; health says so."""
    async with Stage() as stage:
        stage.source.publish()
        await stage.clock.advance(300)
        with pytest.raises(Unauthenticated):
            await stage.keys.key_for("RS256", "one")
        assert HealthState.UNHEALTHY == state(stage)


@pytest.mark.parametrize("answer", [b"<html>", b"{}", b""])
async def test_an_answer_that_is_no_key_set_is_an_outage(answer: bytes) -> None:
    """A page of an error ends no keys."""
    async with Stage() as stage:
        stage.source.document = answer
        await stage.clock.advance(300)
        assert "one" == (await stage.keys.key_for("RS256", "one")).kid
        assert HealthState.DEGRADED == state(stage)


async def test_ignored_keys_are_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    """A key that cannot be used is named when it appears, not at each reading."""
    weak = signer("RS256", "weak", 1024)
    async with Stage(signer(), weak) as stage:
        await stage.clock.advance(900)
        ignored = [one for one in caplog.records if one.message == "jwks_key_ignored"]
        assert ["weak"] == [one.__dict__["kid"] for one in ignored]


async def test_a_defect_does_not_end_the_readings(caplog: pytest.LogCaptureFixture) -> None:
    """An unexpected error is logged, health has it, and the next reading takes place."""
    async with Stage() as stage:
        stage.source.document = KeyError("defect")
        await stage.clock.advance(300)
        assert HealthState.DEGRADED == state(stage)
        assert "jwks_refresh_failed" in [one.message for one in caplog.records]
        stage.source.publish(signer())
        await stage.clock.advance(RETRY_SECONDS)
        assert HealthState.HEALTHY == state(stage)


async def test_what_listens_hears_of_changes_only() -> None:
    """A set with the same keys is no change."""
    async with Stage() as stage:
        heard: list[Any] = []
        stage.keys.on_change(heard.append)
        await stage.clock.advance(600)
        assert [] == heard
        stage.source.publish(signer("RS256", "two"))
        await stage.clock.advance(300)
        assert [["two"]] == [[key.kid for key in keys] for keys in heard]
