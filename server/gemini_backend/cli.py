"""The command `gemini-backend`.

Every error is one sentence on standard error that names the fix. Exit codes: 0 done, 1 failed,
2 wrong use, 130 interrupted. Each command is a module with `add_arguments(parser)` and
`run(args) -> int`; it is imported only when it is the one that was asked for.
"""

from __future__ import annotations

import argparse
import os
import sys
from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING

from gemini_backend.signals import ignore_until_ready
from gemini_backend.standard_files import (
    cannot_be_written,
    give_up_output,
    open_standard_files,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

COMMANDS = {
    "serve": ("run the service in the foreground", "gemini_backend.commands.serve"),
    "simulate": (
        "simulate Gemini's REST API, including faults, without a key",
        "gemini_backend.upstream.simulator.command",
    ),
    "call": (
        "send a prompt to a running service and print the answer as it arrives",
        "gemini_backend_client.commands.call",
    ),
    "health": (
        "show the health of a running service: components, models, circuits, quotas, queue, keys",
        "gemini_backend_client.commands.health",
    ),
    "models": (
        "list the models of a running service, validate one, or recommend some",
        "gemini_backend_client.commands.models",
    ),
    "config": (
        "show, check or compare the configuration; change that of a running service",
        "gemini_backend.commands.config.command",
    ),
    "tokenizer": (
        "download the vocabulary for counting tokens, or check whether tokens can be counted",
        "gemini_backend.commands.tokenizer",
    ),
    "sessions": (
        "copy the stored sessions to a file, or put such a copy back",
        "gemini_backend.commands.sessions",
    ),
    "keys": (
        "create, list, rotate and revoke the API keys of callers; show who the caller is",
        "gemini_backend.commands.keys.command",
    ),
    "upstream-keys": (
        "store, list and remove keys of Gemini, encrypted; change what encrypts them",
        "gemini_backend.commands.upstream_keys.command",
    ),
    "audit": (
        "list, verify or export the audit log",
        "gemini_backend.commands.audit.command",
    ),
    "doctor": ("check the configuration and report what to fix", "gemini_backend.commands.doctor"),
}

# Run until a signal ends them; others end at any.
SERVING = {"serve", "simulate"}
INTERRUPTED = 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    open_standard_files()
    # gRPC's core writes lines of its own to standard error; ours say the same in one sentence
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    # the thread that waits for calls reads their sockets itself: one switch of threads less
    os.environ.setdefault("GRPC_EXPERIMENTS", "-event_engine_listener")
    arguments = list(sys.argv[1:] if argv is None else argv)
    if set(arguments[:1]) & SERVING:
        ignore_until_ready()
    try:
        code = _run(arguments)
        sys.stdout.flush()
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # whoever read our output has gone; there is nobody left to tell
        give_up_output()
        return 1
    except OSError as error:
        if not cannot_be_written(error):
            raise
        give_up_output()
        sys.stderr.write(f"gemini-backend: cannot write the output: {error.strerror}\n")
        return 1
    return code


def _run(arguments: Sequence[str]) -> int:
    try:
        args = _parser(arguments).parse_args(arguments)
    except SystemExit as ended:  # after `--help`, `--version`, or wrong use
        return ended.code if isinstance(ended.code, int) else 0
    import_module("gemini_backend.commands.notices").show_notices()
    code: int = args.run(args)
    return code


def _parser(arguments: Sequence[str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="gemini-backend",
        description="A typed, streaming gRPC service between your programs and Google Gemini.",
    )
    parser.add_argument("--version", action="version", version=version("gemini-backend"))
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    asked = next((word for word in arguments if not word.startswith("-")), "")
    for name, (text, path) in COMMANDS.items():
        command = commands.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.")
        if name == asked:
            module = import_module(path)
            module.add_arguments(command)
            command.set_defaults(run=module.run)
    return parser
