"""Logs on standard error: JSON lines, or text for people. Never a key, a prompt or an answer."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from gemini_backend.telemetry.logs.one_line import one_line

if TYPE_CHECKING:
    from gemini_backend.telemetry.logs.log_writer import LogWriter

_STANDARD = frozenset(logging.LogRecord("", 0, "", 0, "", None, None).__dict__) | {
    "message",
    "asctime",
    "taskName",
}


class _Lines(logging.Handler):
    def __init__(self, writer: LogWriter, form: Literal["json", "text"]) -> None:
        super().__init__()
        self._writer = writer
        self._render = _as_json if form == "json" else _as_text

    def emit(self, record: logging.LogRecord) -> None:
        try:
            line = self._render(record)
        except Exception as error:  # noqa: BLE001 - logging must never be what breaks the server
            # logging's own way would be to print, to whoever may have stopped reading
            what = {"logger": record.name, "error_type": type(error).__qualname__}
            line = msgspec.json.encode(
                {"level": "error", "event": "log_line_failed", **what}
            ).decode()
        self._writer.write(line)


class _GoneCallers(logging.Filter):
    """Lets gRPC's word for a caller that left in the middle of a write pass for debugging only.

    It is told as an error, with a trace; the call's own line says CANCELLED already.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        kind = record.exc_info[0] if record.exc_info else None
        if kind is None or kind.__qualname__ != "ExecuteBatchError":
            return True
        record.levelno, record.levelname = logging.DEBUG, logging.getLevelName(logging.DEBUG)
        return logging.getLogger().isEnabledFor(logging.DEBUG)


_GONE_CALLERS = _GoneCallers()


def set_up(level: str, form: Literal["json", "text"], writer: LogWriter) -> None:
    """Send all logging to `writer`.

    Args:
        level: "debug", "info", "warning" or "error".
        form: "json", one object a line, or "text".
        writer: Where the lines go.
    """
    logging.getLogger().handlers[:] = [_Lines(writer, form)]
    set_level(level)
    # a line for each probe and each call to the simulator would say nothing new
    logging.getLogger("aiohttp.access").setLevel(logging.WARNING)
    logging.getLogger("grpc._cython.cygrpc").addFilter(_GONE_CALLERS)


def set_level(level: str) -> None:
    """Write lines of this level and above, whichever levels single loggers have of their own."""
    root = logging.getLogger()
    root.setLevel(level.upper())
    for handler in root.handlers:
        handler.setLevel(level.upper())


def _extras(record: logging.LogRecord) -> dict[str, Any]:
    return {key: value for key, value in record.__dict__.items() if key not in _STANDARD}


def _as_json(record: logging.LogRecord) -> str:
    line = {
        "ts": round(record.created, 3),
        "level": record.levelname.lower(),
        "event": record.getMessage(),
        "logger": record.name,
        **_extras(record),
    }
    if record.exc_info and record.exc_info[0] is not None:
        line["error_type"] = record.exc_info[0].__qualname__
    return msgspec.json.encode(line, enc_hook=str).decode()


def _as_text(record: logging.LogRecord) -> str:
    extras = " ".join(f"{key}={value}" for key, value in _extras(record).items())
    kind = record.exc_info[0].__qualname__ if record.exc_info and record.exc_info[0] else ""
    words = (record.levelname.lower(), record.getMessage(), kind, extras)
    return one_line(" ".join(filter(None, words)))
