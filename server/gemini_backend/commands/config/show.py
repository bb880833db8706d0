"""`config show`: what would be in effect, and where each value comes from."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from gemini_backend.commands.config.here import as_started, sources
from gemini_backend.commands.config.values import json_line, shown, values_of
from gemini_backend.config import ConfigError, OriginKind
from gemini_backend.config.reference import settings
from gemini_backend_client.commands.command_line import DONE, UsageError

if TYPE_CHECKING:
    from argparse import Namespace

    from gemini_backend.config import Origin


def show(args: Namespace) -> int:
    """Print a line per setting, secrets masked.

    Raises:
        UsageError: the configuration is invalid, or overrides on disk cannot be read.
    """
    try:
        begun = as_started(sources(args))
    except ConfigError as error:
        raise UsageError(str(error)) from error
    for one in begun.left_out:
        sys.stderr.write(f"an override on disk is not valid and is left out: {one.message}\n")
    given = begun.revision.given
    values = values_of(given)
    for path in sorted(values):
        origin = given[path].origin
        if args.changed and origin.kind is OriginKind.DEFAULT:
            continue
        told = {
            "path": path,
            "value": values[path],
            "origin": origin.kind.value,
            "detail": origin.detail,
            "live": settings()[path].live,
        }
        text = f"{path} = {shown(values[path])}  # {_words(origin)}\n"
        sys.stdout.write(json_line(told) if args.json else text)
    return DONE


def _words(origin: Origin) -> str:
    """Return where a value comes from; of an override also its revision."""
    if origin.kind is OriginKind.UPDATE:
        return f"{origin.kind.value} ({origin.detail})"
    return str(origin.kind.value)
