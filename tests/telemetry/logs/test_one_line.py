"""What callers choose cannot look like a line of the log."""

from __future__ import annotations

import io
import logging
from dataclasses import dataclass, field
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gemini_backend.config.sections.operation import LoggingOptions
from gemini_backend.telemetry.events import Bus, RpcFinished
from gemini_backend.telemetry.logs.access_log import AccessLog
from gemini_backend.telemetry.logs.log_setup import set_up
from gemini_backend.telemetry.logs.log_writer import LogWriter
from gemini_backend.telemetry.logs.one_line import one_line

FORGED = "a\ninfo rpc method=/forged code=OK \x1b[31m\u2028\u202e"
FORMS: list[Literal["json", "text"]] = ["json", "text"]


@dataclass
class Log:
    """A log of one form."""

    form: Literal["json", "text"]
    out: io.StringIO = field(default_factory=io.StringIO)

    def __post_init__(self) -> None:
        self.writer = LogWriter(self.out, form=self.form)

    def lines(self) -> list[str]:
        """Return what was written."""
        self.writer.flush(5)
        return self.out.getvalue().split("\n")[:-1]


@given(st.text())
def test_any_text_is_one_line(text: str) -> None:
    """Nothing that ends a line or moves a terminal is left; what is harmless stays as it is."""
    made = one_line(text)
    assert (1, True) == (len((made + "x").splitlines()), "\x1b" not in made)
    assert (text == made) or any(not char.isprintable() for char in text)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", ["method", "request_id", "reason", "model"])
def test_a_call_is_one_line(form: Literal["json", "text"], name: str) -> None:
    """A line end in a name or an id makes no second line, in either form of the log."""
    log, bus = Log(form), Bus()
    AccessLog(LoggingOptions, log.writer, form).listen(bus)
    texts = {"method": "/m", "request_id": "", "reason": "", "model": "", name: FORGED}
    event = RpcFinished(
        "executions/1",
        texts["method"],
        "default",
        "anonymous",
        "OK",
        texts["reason"],
        0.1,
        texts["model"],
        "",
        None,
        None,
        0,
        texts["request_id"],
    )
    bus.publish(event)
    (line,) = log.lines()
    assert "/forged" in line
    assert "\x1b" not in line


@pytest.mark.parametrize("form", FORMS)
def test_an_event_is_one_line(form: Literal["json", "text"]) -> None:
    """The same holds for every other line."""
    log, root = Log(form), logging.getLogger()
    handlers, level = root.handlers[:], root.level
    try:
        set_up("info", form, log.writer)
        logging.getLogger("test").warning("event", extra={"peer": FORGED})
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
    (line,) = log.lines()
    assert "\x1b" not in line


def test_an_endless_id_is_cut() -> None:
    """A call that is refused for its id does not fill the log with it."""
    log, bus = Log("json"), Bus()
    AccessLog(LoggingOptions, log.writer).listen(bus)
    long = "x" * 1_000_000
    bus.publish(
        RpcFinished(
            "e", f"/{long}", "t", "p", "INVALID_ARGUMENT", "", 0.1, "", "", None, None, 0, long
        )
    )
    (line,) = log.lines()
    assert 1000 > len(line)
