"""What nobody handled is logged by its type and place, without its words."""

from __future__ import annotations

import asyncio
import gc
import io
import sys
import threading

import pytest

from gemini_backend import masking
from gemini_backend.telemetry.logs.unhandled import facts_of, log_unhandled
from tests.support.clock import settle

WORDS = "the words of an error, which may quote a prompt"
KEY = "one-secret-key-of-the-last-words"


@pytest.fixture(autouse=True)
def _hooks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put the hooks of the process back afterwards."""
    for owner, name in ((sys, "excepthook"), (sys, "unraisablehook"), (threading, "excepthook")):
        monkeypatch.setattr(owner, name, getattr(owner, name))
    loop = asyncio.new_event_loop()
    log_unhandled(loop)
    loop.close()


def said(caplog: pytest.LogCaptureFixture) -> list[tuple[object, ...]]:
    """Return what was logged: where, which type, in which functions."""
    assert WORDS not in caplog.text
    return [
        (
            record.__dict__["where"],
            record.__dict__.get("error_type"),
            [frame.rpartition(" ")[2] for frame in record.__dict__.get("frames", ())],
        )
        for record in caplog.records
        if record.getMessage() == "unhandled failure"
    ]


def fail() -> None:
    """Fail with words."""
    raise ValueError(WORDS)


def test_the_facts_of_an_error_are_type_and_places() -> None:
    """Functions and lines are told, values and words are not."""
    try:
        fail()
    except ValueError as error:
        facts = facts_of(error)
    assert "ValueError" == facts["error_type"]
    assert WORDS not in repr(facts)


async def test_a_callback_and_a_task_that_fail(caplog: pytest.LogCaptureFixture) -> None:
    """Asyncio's own lines would quote the error and the arguments."""
    loop = asyncio.get_running_loop()
    log_unhandled(loop)

    async def failing() -> None:
        fail()

    loop.call_soon(fail)
    task = asyncio.ensure_future(failing())
    await settle()
    await settle()
    del task
    gc.collect()
    loop.call_exception_handler({"message": WORDS})
    frames = {where: frames for where, kind, frames in said(caplog) if kind}
    assert [None, "ValueError", "ValueError"] == sorted(
        (kind for _, kind, _ in said(caplog)), key=lambda kind: str(kind or "")
    )
    assert "fail" == frames["event loop"][-1]


def test_a_thread_that_fails(caplog: pytest.LogCaptureFixture) -> None:
    """A thread's own traceback would quote the error."""
    thread = threading.Thread(target=fail)
    thread.start()
    thread.join()
    ((where, kind, frames),) = said(caplog)
    assert ("thread", "ValueError", "fail") == (where, kind, frames[-1])


def test_a_finalizer_that_fails(caplog: pytest.LogCaptureFixture) -> None:
    """What Python ignores is logged in the same way."""

    class Finalized:
        def __del__(self) -> None:
            fail()

    Finalized()
    gc.collect()
    assert [("finalizer", "ValueError", ["__del__", "fail"])] == said(caplog)


def test_the_last_words_of_the_process_have_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    """What ends the process is shown as a whole, secrets masked."""
    masking.remember([KEY])
    out = io.StringIO()
    monkeypatch.setattr(sys, "stderr", out)
    error = ValueError(f"no {KEY} please")
    sys.excepthook(ValueError, error, None)
    assert "ValueError: no [key] please\n" == out.getvalue()
