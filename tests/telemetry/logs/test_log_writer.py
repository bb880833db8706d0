"""Log lines leave the loop in batches."""

from __future__ import annotations

import asyncio
import io
import json
import logging

from gemini_backend import masking
from gemini_backend.telemetry.logs.log_setup import set_up
from gemini_backend.telemetry.logs.log_writer import LogWriter


def test_outside_a_loop_lines_are_written_at_once() -> None:
    """Without a running loop nothing waits."""
    out = io.StringIO()
    LogWriter(out).write("a")
    assert "a\n" == out.getvalue()


async def test_inside_a_loop_lines_wait_for_their_batch() -> None:
    """Within a loop nothing is written by the one who logs."""
    out = io.StringIO()
    writer = LogWriter(out, delay_seconds=0)
    writer.write("a")
    writer.write("b")
    assert "" == out.getvalue()
    while not out.getvalue():
        await asyncio.sleep(0)
    assert "a\nb\n" == out.getvalue()


async def test_a_full_buffer_drops_and_says_so() -> None:
    """Beyond the bound lines are dropped, and the next batch tells how many."""
    out = io.StringIO()
    writer = LogWriter(out, bound=2, delay_seconds=3600)
    for line in "abcd":
        writer.write(line)
    writer.flush()
    assert ["a", "b"] == out.getvalue().splitlines()[:2]
    assert 2 == json.loads(out.getvalue().splitlines()[2])["count"]


def test_a_log_line_is_one_json_object() -> None:
    """What is given as `extra` stands in the line beside level and event."""
    out = io.StringIO()
    before = logging.getLogger().handlers[:], logging.getLogger().level
    try:
        set_up("info", "json", LogWriter(out))
        logging.getLogger("x").info("hello", extra={"execution": "e1"})
        logging.getLogger("x").debug("not wanted")
    finally:
        logging.getLogger().handlers[:], level = before
        logging.getLogger().setLevel(level)
    (line,) = [json.loads(text) for text in out.getvalue().splitlines()]
    assert ("info", "hello", "e1") == (line["level"], line["event"], line["execution"])


def test_no_line_has_a_secret() -> None:
    """What this process must not show is masked as it is written."""
    masking.remember(["one-secret-key-of-the-log-writer"])
    out = io.StringIO()
    LogWriter(out).write('{"x":"ONE-secret-key-of-the-log-writer"}')
    assert '{"x":"[key]"}\n' == out.getvalue()
