"""`gemini-backend config`: what would be in force, and where each value comes from."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from gemini_backend import masking
from gemini_backend.config import ConfigError, Secret, read

if TYPE_CHECKING:
    import argparse

DONE, WRONG_USE = 0, 2


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("--config", type=Path, metavar="FILE", help="TOML file with settings")
    parser.add_argument(
        "--changed",
        action="store_true",
        help="show only values that differ from the built-in defaults",
    )


def run(args: argparse.Namespace) -> int:
    """Print a line a setting, secrets masked; refuse a configuration that cannot be."""
    try:
        settings = read(args.config, os.environ)
    except ConfigError as error:
        print(f"gemini-backend config: {error}", file=sys.stderr)
        return WRONG_USE
    for path, given in sorted(settings.given.items()):
        if args.changed and given.origin.kind.value == "default":
            continue
        print(f"{path} = {_shown(given.value)}  # {given.origin.kind.value}")
    return DONE


def _shown(value: object) -> str:
    return masking.text(msgspec.json.encode(value, enc_hook=_masked).decode())


def _masked(value: object) -> object:
    if isinstance(value, Secret):
        return str(value) if value else ""
    return repr(value)
