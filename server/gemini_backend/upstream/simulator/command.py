"""The command ``gemini-backend simulate``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from gemini_backend.checked_fields import WrongValue
from gemini_backend.models.catalogue_schema import read
from gemini_backend.signals import Signals
from gemini_backend.standard_files import give_up_output
from gemini_backend.upstream.simulator.engines import ENGINES, EngineError
from gemini_backend.upstream.simulator.faults import Script, ScriptError, read_script
from gemini_backend.upstream.simulator.options import SimulatorOptions
from gemini_backend.upstream.simulator.server import Simulator

if TYPE_CHECKING:
    import argparse

    from gemini_backend.models.catalogue_schema import CatalogueEntry

DONE, FAILED, WRONG_USE = 0, 1, 2
DEFAULT_LISTEN = "127.0.0.1:8081"
MAX_PORT = 65_535
_CLOSE_SECONDS = 5.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command's arguments."""
    parser.add_argument(
        "--listen",
        default=DEFAULT_LISTEN,
        metavar="HOST:PORT",
        help=f"address to listen on; port 0 selects a free port (default {DEFAULT_LISTEN})",
    )
    parser.add_argument(
        "--models",
        metavar="FILE",
        help="additional models, a TOML file in the format of the catalogue (see docs/models.md)",
    )
    parser.add_argument(
        "--script", metavar="FILE", help="file with faults and quotas, JSON or TOML"
    )
    parser.add_argument(
        "--engine", choices=ENGINES, default="echo", help="engine that generates the text"
    )
    parser.add_argument(
        "--api-key",
        action="append",
        default=[],
        metavar="KEY",
        help="accept only this key (may be given several times; default: any key)",
    )
    parser.add_argument(
        "--chunk-delay",
        type=float,
        default=0.0,
        metavar="SECONDS",
        help="pause between two chunks of a stream (default 0)",
    )
    parser.add_argument(
        "--hop-tokens",
        type=int,
        default=0,
        metavar="N",
        help="interrupt long answers of Gemini 4 after this many tokens (default: its own limit)",
    )
    parser.add_argument(
        "--first-byte-delay",
        type=float,
        default=0.0,
        metavar="SECONDS",
        help="pause before every answer (default 0)",
    )


def run(args: argparse.Namespace) -> int:
    """Runs the simulator until SIGINT or SIGTERM.

    Args:
        args: What ``add_arguments`` declares.

    Returns:
        The exit code: 0 stopped by a signal, 1 the address cannot be had, 2 wrong use.
    """
    try:
        host, port = _address(args.listen)
        options = SimulatorOptions(
            api_keys=tuple(args.api_key),
            models=_models(args.models) if args.models else (),
            engine=args.engine,
            script=read_script(args.script) if args.script else Script(),
            hop_tokens=args.hop_tokens,
            chunk_delay=args.chunk_delay,
            first_byte_delay=args.first_byte_delay,
        )
    except WrongValue as error:
        flag = error.field.replace("_", "-")
        return _failed(f"--{flag} is {error.value} and must be {error.expected}", WRONG_USE)
    except (ScriptError, ValueError) as error:
        return _failed(str(error), WRONG_USE)
    import uvloop  # noqa: PLC0415 - not needed to show the help

    try:
        return uvloop.run(_serve(options, host, port))
    except EngineError as error:
        return _failed(str(error), WRONG_USE)
    except OSError as error:
        reason = error.strerror or error
        return _failed(f"cannot listen on {args.listen}: {reason}; choose another --listen", FAILED)


async def _serve(options: SimulatorOptions, host: str, port: int) -> int:
    signals = Signals()
    simulator = Simulator(options)
    await simulator.start(host, port)
    shown = simulator.url.removeprefix("http://")
    try:
        print(f"ready http={shown}", flush=True)
    except OSError:  # nobody reads the line; it serves all the same
        give_up_output()
    await signals.stop.wait()
    signals.end_within(_CLOSE_SECONDS)
    await simulator.aclose()
    return DONE


def _models(file: str) -> tuple[CatalogueEntry, ...]:
    try:
        return read(Path(file).read_text("utf-8")).models
    except (OSError, ValueError) as error:  # of TOML, of UTF-8 and of the form are ValueErrors
        message = f"--models {file}: {error}; correct the file"
        raise ValueError(message) from None


def _address(text: str) -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    if not colon or not host or not port.isdecimal() or int(port) > MAX_PORT:
        message = f"--listen {text!r} is not an address: write it as 127.0.0.1:8081"
        raise ValueError(message)
    return host.strip("[]"), int(port)


def _failed(message: str, code: int) -> int:
    print(f"gemini-backend simulate: {message}", file=sys.stderr)
    return code
