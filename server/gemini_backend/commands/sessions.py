"""`gemini-backend sessions`: copies the store of sessions, and puts a copy back."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from gemini_backend.config import ConfigError, read
from gemini_backend.stores.backup import BackupError, back_up, restore
from gemini_backend.stores.session_service import FILE

if TYPE_CHECKING:
    import argparse

DONE, FAILED, WRONG_USE = 0, 1, 2


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument(
        "action",
        choices=("backup", "restore"),
        help="backup: copy the store to FILE, also while a server uses it; restore: replace the "
        "store by FILE, while no server uses it",
    )
    parser.add_argument("file", type=Path, metavar="FILE", help="the copy")
    parser.add_argument("--config", type=Path, metavar="FILE", help="TOML file with settings")
    parser.add_argument(
        "--replace", action="store_true", help="backup: replace FILE if it exists already"
    )


def run(args: argparse.Namespace) -> int:
    """Do as asked; return the exit code."""
    try:
        config = read(args.config, os.environ).config
    except ConfigError as error:
        return _failed(str(error), WRONG_USE)
    if config.sessions.store != "sqlite":
        return _failed("sessions.store is memory; there is no file to copy", WRONG_USE)
    store = Path(config.state.dir).expanduser() / FILE
    try:
        if args.action == "backup":
            copied = back_up(store, args.file, replace=args.replace)
            print(f"{args.file}: {copied.sessions} sessions with {copied.turns} turns")
            return DONE
        copied = restore(args.file, store)
    except BackupError as error:
        return _failed(str(error), FAILED)
    print(f"{store}: {copied.sessions} sessions with {copied.turns} turns")
    if copied.aside is not None:
        print(f"the former store is kept as {copied.aside}")
    return DONE


def _failed(message: str, code: int) -> int:
    print(f"gemini-backend sessions: {message}", file=sys.stderr)
    return code
