"""`gemini-backend serve`: the service as a process, from the first line to the last."""

from __future__ import annotations

import asyncio
import logging
import os
import resource
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import uvloop

from gemini_backend.app import Backend
from gemini_backend.config import ConfigError, read
from gemini_backend.telemetry.logs.log_setup import set_up
from gemini_backend.telemetry.logs.log_writer import LogWriter
from gemini_backend.telemetry.logs.unhandled import log_unhandled
from gemini_backend.upstream.factory import SIMULATOR, make

if TYPE_CHECKING:
    import argparse

    from gemini_backend.config import Settings

DONE, FAILED, WRONG_USE = 0, 1, 2
_MANY_FILES = 1 << 20

_log = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("--config", type=Path, metavar="FILE", help="TOML file with settings")
    parser.add_argument("--listen", metavar="HOST:PORT", help="gRPC address (server.listen)")
    parser.add_argument("--web-listen", metavar="HOST:PORT", help="HTTP address (web.listen)")


def run(args: argparse.Namespace) -> int:
    """Serve until SIGTERM or SIGINT; return the exit code."""
    given = {"server.listen": args.listen, "web.listen": args.web_listen}
    options = {path: value for path, value in given.items() if value is not None}
    try:
        settings = read(args.config, os.environ, options)
    except ConfigError as error:
        return _failed(error, WRONG_USE)
    lines = LogWriter()
    set_up(settings.config.logging.level, settings.config.logging.format, lines)
    _raise_file_limit()
    try:
        return uvloop.run(_serve(settings, lines))
    except ConfigError as error:
        return _failed(error, WRONG_USE)
    except OSError as error:
        return _failed(error, FAILED)
    finally:
        lines.flush()


async def _serve(settings: Settings, lines: LogWriter) -> int:
    log_unhandled(asyncio.get_running_loop())
    stop = _Stop()
    stop.listen()
    provider = await make(settings.config)
    backend = Backend(settings, os.environ, lines, provider)
    if provider.facts.provider == SIMULATOR:
        _say_simulated(settings)
    elif provider.facts.proxy:
        _log.info("upstream_proxy", extra={"proxy": provider.facts.proxy})
    try:
        print(await backend.start(), flush=True)
        await stop.first.wait()
        _log.info("draining", extra={"seconds": backend.config.server.drain_seconds})
        draining = asyncio.ensure_future(backend.drain())
        hurry = asyncio.ensure_future(stop.second.wait())
        await asyncio.wait({draining, hurry}, return_when=asyncio.FIRST_COMPLETED)
        draining.cancel()
        hurry.cancel()
        await asyncio.gather(draining, hurry, return_exceptions=True)
    finally:
        await backend.aclose()
    _log.info("stopped")
    return DONE


class _Stop:
    """The first signal asks for an orderly end, the second one for an end at once."""

    def __init__(self) -> None:
        self.first = asyncio.Event()
        self.second = asyncio.Event()

    def listen(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._signalled)

    def _signalled(self) -> None:
        (self.second if self.first.is_set() else self.first).set()


def _say_simulated(settings: Settings) -> None:
    asked = settings.config.upstream.provider == SIMULATOR
    why = "upstream.provider is simulator" if asked else "GEMINI_API_KEY is not set"
    print(
        f"answers come from the built-in simulator, not from Gemini: {why}",
        file=sys.stderr,
        flush=True,
    )


def _raise_file_limit() -> None:
    """Allow as many connections as the system lets this process have."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    unlimited = hard == resource.RLIM_INFINITY
    wanted = _MANY_FILES if unlimited else min(hard, _MANY_FILES)
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _failed(error: Exception, code: int) -> int:
    print(f"gemini-backend serve: {error}", file=sys.stderr)
    return code
