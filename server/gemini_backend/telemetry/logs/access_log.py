"""One structured line a call: who, what, how it ended, how long it took. Never what was said."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Literal

import msgspec

from gemini_backend.models.names import short_name

if TYPE_CHECKING:
    from collections.abc import Callable

    from gemini_backend.call import Call
    from gemini_backend.clock import Clock
    from gemini_backend.telemetry.logs.log_writer import LogWriter


class AccessLine(msgspec.Struct, omit_defaults=True):
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
        clock: Clock,
        enabled: Callable[[], bool],
        out: LogWriter,
        form: Literal["json", "text"] = "json",
    ) -> None:
        """Write to `out` whenever `enabled` says so, as JSON or as text for people."""
        self._clock = clock
        self._enabled = enabled
        self._out = out
        encode = msgspec.json.Encoder().encode
        self._render = _as_text if form == "text" else lambda line: encode(line).decode()

    def write(self, call: Call, code: str, reason: str) -> None:
        """Write the line of a call that has ended, unless lines are off."""
        if self._enabled():
            self._out.write(self._render(self._line(call, code, reason)))

    def _line(self, call: Call, code: str, reason: str) -> AccessLine:
        line = AccessLine(
            ts=round(time.time(), 3),
            execution=call.execution,
            method=call.method,
            code=code,
            duration_ms=round((self._clock.now() - call.arrived) * 1000, 3),
            level=_level(code),
            event="rpc",
            tenant=call.principal.tenant,
            reason=reason,
            model=short_name(call.outcome.model),
            model_version=call.outcome.served_model,
            attempts=len(call.outcome.attempts),
            request_id=call.request_id,
        )
        if call.outcome.first_token is not None:
            line.first_token_ms = round((call.outcome.first_token - call.arrived) * 1000, 3)
        if call.outcome.usage is not None:
            line.prompt_tokens = call.outcome.usage.prompt_token_count
            line.output_tokens = call.outcome.usage.candidates_token_count
            line.thought_tokens = call.outcome.usage.thoughts_token_count
        return line

    def __repr__(self) -> str:
        """Name the log."""
        return "AccessLog()"


def _level(code: str) -> str:
    if code in {"OK", "CANCELLED"}:
        return "info"
    return "error" if code in {"INTERNAL", "UNKNOWN"} else "warning"


def _as_text(line: AccessLine) -> str:
    said = msgspec.to_builtins(line)
    words = " ".join(f"{key}={said[key]}" for key in said if key not in {"ts", "level", "event"})
    return f"{line.level} {line.event} {words}"
