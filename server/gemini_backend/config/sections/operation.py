"""What an operator watches: state, logs, traces."""

from __future__ import annotations

from typing import Annotated, Literal

from gemini_backend.config.about import Options, about


class StateOptions(Options, frozen=True):
    """Storage of state."""

    dir: Annotated[
        str,
        about(
            "Directory for state; by default `$XDG_STATE_HOME/gemini-backend`, or else "
            "`~/.local/state/gemini-backend`."
        ),
    ] = "~/.local/state/gemini-backend"


class RevisionsOptions(Options, frozen=True):
    """Changes of the configuration while the server runs, and their history."""

    store: Annotated[
        Literal["disk", "memory"],
        about(
            "Storage of the revisions and of the values that ConfigService has set: `disk` keeps "
            "them over a restart, in `config/revisions.jsonl` in `state.dir`; `memory` until the "
            "server stops."
        ),
    ] = "disk"
    watch_file: Annotated[
        bool,
        about(
            "Enables the file watch: a changed configuration file is read again within 2 s, "
            "without a signal."
        ),
    ] = True


class LoggingOptions(Options, frozen=True):
    """Logs, on standard error; no line contains a prompt, an answer or a key."""

    level: Annotated[
        Literal["debug", "info", "warning", "error"],
        about("Minimum level of the lines that are written.", live=True),
    ] = "info"
    format: Annotated[
        Literal["json", "text"],
        about("Format of log lines: one JSON object per line, or readable text."),
    ] = "json"
    access: Annotated[bool, about("Writes one log line per call.", live=True)] = True


class TracingOptions(Options, frozen=True):
    """Traces; the standard OTEL_* variables set their destination."""

    enabled: Annotated[
        Literal["auto", "on", "off"],
        about("Tracing; `auto` enables it if an OTEL_* variable names an exporter or an endpoint."),
    ] = "auto"
