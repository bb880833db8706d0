"""What an operator watches: state, logs, traces."""

from __future__ import annotations

from typing import Annotated, Literal

from gemini_backend.config.about import Options, about


class StateOptions(Options, frozen=True):
    """What outlives a call."""

    dir: Annotated[
        str,
        about(
            "Folder for it; by default `$XDG_STATE_HOME/gemini-backend`, or else "
            "`~/.local/state/gemini-backend`."
        ),
    ] = "~/.local/state/gemini-backend"


class LoggingOptions(Options, frozen=True):
    """Logs, on standard error; no line holds a prompt, an answer or a key."""

    level: Annotated[
        Literal["debug", "info", "warning", "error"],
        about("Least important lines that are written.", live=True),
    ] = "info"
    format: Annotated[
        Literal["json", "text"], about("One JSON object a line, or text for people.")
    ] = "json"
    access: Annotated[bool, about("Whether each call gives a line.", live=True)] = True


class TracingOptions(Options, frozen=True):
    """Traces; where they go is said by the standard OTEL_* variables."""

    enabled: Annotated[
        Literal["auto", "on", "off"],
        about("`auto` is on where an OTEL_* variable names an exporter or an endpoint."),
    ] = "auto"
