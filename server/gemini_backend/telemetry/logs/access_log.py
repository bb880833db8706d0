"""One structured line a call: who, what, how it ended, how long it took. Never what was said."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Literal

import msgspec

from gemini_backend.models.names import short_name
from gemini_backend.telemetry.events import RpcFinished

if TYPE_CHECKING:
    from collections.abc import Callable

    from gemini_backend.config.sections.operation import LoggingOptions
    from gemini_backend.telemetry.events import Bus
    from gemini_backend.telemetry.logs.log_writer import LogWriter

_RANKS = {"debug": 0, "info": 1, "warning": 2, "error": 3}


class AccessLine(msgspec.Struct, omit_defaults=True, gc=False):
    """The line, as JSON. Times are milliseconds, `ts` seconds since 1970, tokens Gemini's."""

    ts: float
    execution: str
    method: str
    code: str
    duration_ms: float
    level: str = ""
    event: str = ""
    tenant: str = ""
    reason: str = ""
    model: str = ""
    model_version: str = ""
    first_token_ms: float = 0.0
    prompt_tokens: int = 0
    output_tokens: int = 0
    thought_tokens: int = 0
    attempts: int = 0
    request_id: str = ""


class AccessLog:
    """Writes the lines."""

    def __init__(
        self,
        options: Callable[[], LoggingOptions],
        out: LogWriter,
        form: Literal["json", "text"] = "json",
    ) -> None:
        """Write to `out` what `options` want of it, as JSON or as text for people."""
        self._options = options
        self._out = out
        encode = msgspec.json.Encoder().encode
        self._render = _as_text if form == "text" else lambda line: encode(line).decode()

    def listen(self, bus: Bus) -> None:
        """Write the line of each call that ends from now on, unless its level is not wanted."""
        bus.subscribe(RpcFinished, self._rpc_finished)

    def _rpc_finished(self, event: RpcFinished) -> None:
        options, level = self._options(), _level(event.code)
        if options.access and _RANKS[level] >= _RANKS[options.level]:
            self._out.write(self._render(_line(event, level)))

    def __repr__(self) -> str:
        """Name the log."""
        return "AccessLog()"


def _line(event: RpcFinished, level: str) -> AccessLine:
    usage, first = event.usage, event.first_token_seconds
    return AccessLine(  # by place: this is done for each call
        round(time.time(), 3),
        event.execution,
        event.method,
        event.code,
        round(event.seconds * 1000, 3),
        level,
        "rpc",
        event.tenant,
        event.reason,
        short_name(event.model),
        event.served_model,
        0.0 if first is None else round(first * 1000, 3),
        0 if usage is None else usage.prompt_token_count,
        0 if usage is None else usage.candidates_token_count,
        0 if usage is None else usage.thoughts_token_count,
        event.attempts,
        event.request_id,
    )


def _level(code: str) -> str:
    if code in {"OK", "CANCELLED"}:
        return "info"
    return "error" if code in {"INTERNAL", "UNKNOWN"} else "warning"


def _as_text(line: AccessLine) -> str:
    said = msgspec.to_builtins(line)
    words = " ".join(f"{key}={said[key]}" for key in said if key not in {"ts", "level", "event"})
    return f"{line.level} {line.event} {words}"
