"""Log lines leave the loop in batches, and whoever logs waits for nobody."""

from __future__ import annotations

import io
import json
import logging
import threading

import pytest

from gemini_backend import masking
from gemini_backend.telemetry.logs.log_setup import set_up
from gemini_backend.telemetry.logs.log_writer import LogWriter


class Stalled(io.StringIO):
    """A reader that takes nothing until it is told to, or that has gone."""

    def __init__(self, *, gone: bool = False) -> None:
        super().__init__()
        self.reads = threading.Event()
        self.asked = threading.Event()
        self.gone = gone

    def write(self, text: str) -> int:
        self.asked.set()
        if self.gone:
            raise BrokenPipeError
        self.reads.wait()
        return super().write(text)


def test_what_was_taken_is_written_in_its_order() -> None:
    """A flush returns once all lines that were taken before it are written."""
    out = io.StringIO()
    writer = LogWriter(out, delay_seconds=3600)
    writer.write("a")
    writer.write("b")
    assert writer.flush()
    assert "a\nb\n" == out.getvalue()


def test_a_reader_that_stalls_is_waited_for_by_nobody() -> None:
    """Lines are taken while one is being written; a flush ends in its time and says so."""
    out = Stalled()
    writer = LogWriter(out, delay_seconds=0)
    writer.write("a")
    out.asked.wait()
    writer.write("b")
    assert not writer.flush(0.01)
    out.reads.set()
    assert writer.flush()
    assert "a\nb\n" == out.getvalue()


@pytest.mark.parametrize(
    ("form", "said"),
    [("json", '"level":"error","event":"log_lines_lost","count":2}'), ("text", "count=2")],
)
def test_lines_beyond_the_bound_are_lost_and_counted(form: str, said: str) -> None:
    """Once the reader is back, the next batch begins with how many were lost."""
    out = Stalled()
    writer = LogWriter(out, form=form, bound=2, delay_seconds=0)  # type: ignore[arg-type]
    writer.write("first")
    out.asked.wait()
    for line in "abcd":
        writer.write(line)
    assert 2 == writer.lost_total
    out.reads.set()
    assert writer.flush()
    first, lost, *rest = out.getvalue().splitlines()
    assert ("first", ["a", "b"]) == (first, rest)
    assert lost.endswith(said)


def test_lines_for_a_reader_that_has_gone_are_lost_and_counted() -> None:
    """A batch that cannot be written is lost, and the next one says so; nothing is raised."""
    out = Stalled(gone=True)
    writer = LogWriter(out, delay_seconds=0)
    writer.write("a")
    writer.flush()
    writer.write("b")
    writer.flush()
    assert 2 == writer.lost_total
    out.gone = False
    out.reads.set()
    writer.write("c")
    assert writer.flush()
    lost, line = out.getvalue().splitlines()
    assert (2, "c") == (json.loads(lost)["count"], line)
    assert 2 == writer.lost_total


def test_a_writer_that_was_never_used_has_nothing_to_wait_for() -> None:
    """Without a line there is no thread."""
    assert LogWriter(Stalled()).flush(0)


def test_a_log_line_is_one_json_object() -> None:
    """What is given as `extra` stands in the line beside level and event."""
    out = io.StringIO()
    before = logging.getLogger().handlers[:], logging.getLogger().level
    writer = LogWriter(out)
    try:
        set_up("info", "json", writer)
        logging.getLogger("x").info("hello", extra={"execution": "e1"})
        logging.getLogger("x").debug("not wanted")
    finally:
        logging.getLogger().handlers[:], level = before
        logging.getLogger().setLevel(level)
    writer.flush()
    (line,) = [json.loads(text) for text in out.getvalue().splitlines()]
    assert ("info", "hello", "e1") == (line["level"], line["event"], line["execution"])


def test_no_line_has_a_secret() -> None:
    """What this process must not show is masked as it is written."""
    masking.remember(["one-secret-key-of-the-log-writer"])
    out = io.StringIO()
    writer = LogWriter(out)
    writer.write('{"x":"ONE-secret-key-of-the-log-writer"}')
    assert writer.flush()
    assert '{"x":"[key]"}\n' == out.getvalue()


def test_what_is_masked_already_is_not_searched_again() -> None:
    """Whoever says so has masked it; other lines between are searched all the same."""
    masking.remember(["a-secret-of-the-writer"])
    out = io.StringIO()
    writer = LogWriter(out, delay_seconds=3600)
    writer.write("a-secret-of-the-writer")
    writer.write("a-secret-of-the-writer", masked=True)
    writer.write("a-secret-of-the-writer")
    assert writer.flush()
    assert ["[key]", "a-secret-of-the-writer", "[key]"] == out.getvalue().splitlines()
