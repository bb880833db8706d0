"""Texts are counted by a process of its own, which may fail, hang, or not be there at all."""

from __future__ import annotations

import asyncio
import inspect
import logging
import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

from gemini_backend.clock import SystemClock
from gemini_backend.config.sections.tokens import TokensOptions
from gemini_backend.processing.tokens.tokenizer import Tokenizer
from gemini_backend.processing.tokens.vocabulary import BYTES, SHA256
from gemini_backend.processing.workers import worker
from tests.support.clock import FakeClock
from tests.support.messages.tokenizers import real_tokenizer, vocabulary_file

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def tokenizer() -> AsyncIterator[Tokenizer]:
    """One that counts by the vocabulary."""
    made = real_tokenizer()
    yield made
    await made.aclose()


def missing(file: Path, clock: FakeClock) -> Tokenizer:
    """Return one whose vocabulary is not usable."""
    options = TokensOptions(vocabulary_file=str(file))
    return Tokenizer(lambda: options, clock)


def environ_of(pid: int) -> str:
    """Return a process's environment."""
    return Path(f"/proc/{pid}/environ").read_text()


async def test_many_at_once_each_get_their_own(tokenizer: Tokenizer) -> None:
    """Counts of texts that are asked for at the same time are not mixed up."""
    texts = ["word " * number for number in range(1, 60)]
    once = [await tokenizer.count([text]) for text in texts]
    tokenizer._counts.clear()
    assert once == await asyncio.gather(*(tokenizer.count([text]) for text in texts))
    assert sum(filter(None, once)) == await tokenizer.count(texts)


async def test_nothing_comes_to_nothing(tokenizer: Tokenizer) -> None:
    """No text, and empty texts, have no tokens."""
    assert (0, 0) == (await tokenizer.count([]), await tokenizer.count(["", ""]))


async def test_what_leaves_early_mixes_nothing_up(tokenizer: Tokenizer) -> None:
    """A caller that goes away while it is counted for leaves the others their own counts."""
    long = "".join(f"{number} words " for number in range(40_000))
    expected = await tokenizer.count(["five words, or six"])
    tokenizer._counts.clear()
    leaving = asyncio.create_task(tokenizer.count([long]))
    await asyncio.sleep(0.01)
    leaving.cancel()
    assert expected == await tokenizer.count(["five words, or six"])


async def test_a_killed_worker_is_started_anew() -> None:
    """The count under way fails to come, and half a minute later it is counted again."""
    tokenizer = real_tokenizer()
    tokenizer._clock = clock = _Jumping()
    assert await tokenizer.count(["a"])
    assert tokenizer._link is not None
    os.kill(tokenizer._link._process.pid, signal.SIGSTOP)
    waiting = asyncio.create_task(tokenizer.count(["b"]))
    await asyncio.sleep(0.05)
    os.kill(tokenizer._link._process.pid, signal.SIGKILL)
    assert await waiting is None
    assert "the tokenizer has ended" == tokenizer.problem
    clock.ahead = 31.0
    assert await tokenizer.count(["b"])
    await tokenizer.aclose()


async def test_a_count_that_hangs_is_given_up() -> None:
    """After the longest wait the worker is killed, and nobody waits for it any more."""
    tokenizer = real_tokenizer(count_timeout_seconds=20.0)
    assert await tokenizer.count(["a"])
    assert tokenizer._link is not None
    link = tokenizer._link
    os.kill(link._process.pid, signal.SIGSTOP)
    tokenizer._options = lambda: TokensOptions(count_timeout_seconds=0.05)
    assert await tokenizer.count(["b"]) is None
    assert "tokens.count_timeout_seconds" in tokenizer.problem
    await asyncio.wait_for(link._reading, 10)
    assert -signal.SIGKILL == link._process.returncode


async def test_an_idle_worker_is_ended() -> None:
    """Its memory is given back; the next count starts another."""
    tokenizer = real_tokenizer(idle_seconds=0.1)
    assert await tokenizer.count(["a"])
    assert tokenizer._link is not None
    await asyncio.wait_for(asyncio.shield(tokenizer._link._reading), 10)
    assert tokenizer._link is None
    assert await tokenizer.count(["b"])
    await tokenizer.aclose()


async def test_the_worker_knows_no_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    """What stands in the server's environment is not handed on to it."""
    monkeypatch.setenv("GEMINI_API_KEY", "secret")
    other = real_tokenizer()
    assert await other.count(["a"])
    assert other._link is not None
    assert "secret" not in environ_of(other._link._process.pid)
    await other.aclose()


async def test_without_a_vocabulary_nothing_is_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The problem names the fix, is logged once, and is looked into again half a minute later."""
    clock = FakeClock()
    file = tmp_path / "none.json"
    tokenizer = missing(file, clock)
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            assert await tokenizer.count(["a"]) is None
    assert "gemini-backend tokenizer fetch" in tokenizer.problem
    assert ["tokens are estimated"] == [record.message for record in caplog.records]
    file.write_bytes(b"{}")
    assert await tokenizer.count(["a"]) is None
    assert "cannot be read" in tokenizer.problem
    await clock.advance(31)
    assert await tokenizer.count(["a"]) is None
    assert f"2 bytes instead of {BYTES}" in tokenizer.problem


async def test_who_keeps_asking_puts_the_next_try_off_no_further(tmp_path: Path) -> None:
    """Half a minute counts from the failure, however often tokens are asked for meanwhile."""
    clock = FakeClock()
    file = tmp_path / "none.json"
    tokenizer = missing(file, clock)
    assert await tokenizer.count(["a"]) is None
    file.write_bytes(b"{}")
    for _ in range(4):
        await clock.advance(10)
        assert await tokenizer.count(["a"]) is None
    assert f"2 bytes instead of {BYTES}" in tokenizer.problem


async def test_another_file_is_refused(tmp_path: Path) -> None:
    """A vocabulary that differs in one byte counts nothing: the worker looks at all of it."""
    file = tmp_path / "other.json"
    data = bytearray(vocabulary_file().read_bytes())
    data[1000] ^= 1
    file.write_bytes(data)
    options = TokensOptions(vocabulary_file=str(file))
    tokenizer = Tokenizer(lambda: options, SystemClock())
    assert await tokenizer.count(["a"]) is None
    assert SHA256 in tokenizer.problem
    await tokenizer.aclose()


async def test_the_worker_stands_by_itself() -> None:
    """It is run by its path, so it may import nothing of ours."""
    assert "gemini_backend" not in inspect.getsource(worker)


class _Jumping(SystemClock):
    """The machine's clock, some way ahead."""

    ahead = 0.0

    def now(self) -> float:
        """Return the time, ahead of itself."""
        return super().now() + self.ahead
