"""One structured line a call: who, what, how it ended, how long it took. Never what was said."""

from __future__ import annotations

import time
from functools import lru_cache
from typing import TYPE_CHECKING, Literal

import msgspec

from gemini_backend import masking
from gemini_backend.models.names import short_name
from gemini_backend.principal import ANONYMOUS
from gemini_backend.telemetry.events import CANCELLED, OK, RpcFinished
from gemini_backend.telemetry.logs.one_line import one_line

if TYPE_CHECKING:
    from collections.abc import Callable

    from gemini_backend.config.sections.operation import LoggingOptions
    from gemini_backend.telemetry.events import Bus
    from gemini_backend.telemetry.logs.log_writer import LogWriter

_short_name = lru_cache(maxsize=1024)(short_name)
_INFO = "info"
_ANONYMOUS = ANONYMOUS.name  # everybody, which need not be said in each line
# Of a call that is refused for it, a name may be as long as a message.
_MAX_ID, _MAX_METHOD = 128, 256
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
    principal: str = ""
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
        options = self._options()
        if not options.access:
            return
        level = _INFO if event.code == OK else _level(event.code)
        if _RANKS[level] >= _RANKS[options.level]:
            self._out.write(self._render(_line(event, level)), masked=True)

    def __repr__(self) -> str:
        """Name the log."""
        return "AccessLog()"


def _line(event: RpcFinished, level: str) -> AccessLine:
    """Return the line, with secrets masked in what may have come from a caller or a model API.

    Calls differ in numbers and ids, so the rest is searched once for many of them.
    """
    usage, first = event.usage, event.first_token_seconds
    model = _short_name(event.model)
    who = "" if event.principal == _ANONYMOUS else event.principal
    words = (event.method[:_MAX_METHOD], event.tenant, who, event.reason, model, event.served_model)
    method, tenant, principal, reason, model, served_model = masking.often(words)
    return AccessLine(  # by place: this is done for each call
        _milli(time.time()),
        event.execution,
        method,
        event.code,
        _milli(event.seconds * 1000),
        level,
        "rpc",
        tenant,
        principal,
        reason,
        model,
        served_model,
        0.0 if first is None else _milli(first * 1000),
        0 if usage is None else usage.prompt_token_count,
        0 if usage is None else usage.candidates_token_count,
        0 if usage is None else usage.thoughts_token_count,
        event.attempts,
        masking.text(event.request_id[:_MAX_ID]) if event.request_id else "",
    )


def _milli(number: float) -> float:
    """Return a number of three decimals; `round` takes several times as long."""
    return int(number * 1000 + 0.5) / 1000


def _level(code: str) -> str:
    if code in {OK, CANCELLED}:
        return _INFO
    return "error" if code in {"INTERNAL", "UNKNOWN"} else "warning"


def _as_text(line: AccessLine) -> str:
    said = msgspec.to_builtins(line)
    words = " ".join(f"{key}={said[key]}" for key in said if key not in {"ts", "level", "event"})
    return one_line(f"{line.level} {line.event} {words}")
