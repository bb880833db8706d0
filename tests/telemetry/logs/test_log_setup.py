"""What other people's loggers say becomes lines of ours."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from gemini_backend.telemetry.logs.log_setup import set_level, set_up

if TYPE_CHECKING:
    from collections.abc import Iterator

GRPC = logging.getLogger("grpc._cython.cygrpc")


class ExecuteBatchError(Exception):
    """Named like the one of gRPC's core."""


class Lines(list[dict[str, Any]]):
    """Keeps lines in place of a writer."""

    def write(self, line: str) -> None:
        self.append(msgspec.json.decode(line))


@pytest.fixture
def lines() -> Iterator[Lines]:
    """All that is logged, at level info."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    kept = Lines()
    set_up("info", "json", kept)  # type: ignore[arg-type] # it only writes
    yield kept
    root.handlers[:] = handlers
    root.setLevel(level)


def say(error: Exception) -> None:
    """Log an error the way gRPC does."""
    GRPC.error("raised in core", exc_info=error)


def test_a_caller_who_left_is_no_error(lines: Lines) -> None:
    """What gRPC says of a write to nobody is for debugging; its other errors are errors."""
    say(ExecuteBatchError())
    assert [] == lines
    say(ValueError())
    assert [("error", "ValueError")] == [(one["level"], one["error_type"]) for one in lines]


def test_whoever_debugs_is_told(lines: Lines) -> None:
    """At level debug the line is there, as one of that level."""
    set_level("debug")
    say(ExecuteBatchError())
    assert [("debug", "raised in core")] == [(one["level"], one["event"]) for one in lines]


def test_a_level_is_that_of_every_logger(lines: Lines) -> None:
    """A logger with a level of its own says no more than others; a change counts at once."""
    own = logging.getLogger("aiohttp.access")
    assert logging.WARNING == own.level
    set_level("error")
    own.warning("no")
    logging.getLogger("x").error("yes")
    set_level("info")
    own.warning("again")
    assert ["yes", "again"] == [one["event"] for one in lines]


def test_a_line_that_cannot_be_made_is_said_in_another(
    lines: Lines, capsys: pytest.CaptureFixture[str]
) -> None:
    """A wrong call of the logger costs its line, and prints nothing."""
    handler, *_ = logging.getLogger().handlers
    handler.emit(logging.LogRecord("x", logging.ERROR, "", 0, "%d", ("not a number",), None))
    assert [("log_line_failed", "TypeError")] == [
        (one["event"], one["error_type"]) for one in lines
    ]
    assert ("", "") == capsys.readouterr()
