"""`gemini-backend serve`: the service as a process, from the first line to the last."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import uvloop

from gemini_backend.app import LAST_WORDS_SECONDS, Backend
from gemini_backend.commands.certificate_checks import certificate_findings
from gemini_backend.commands.file_limit import raise_file_limit
from gemini_backend.commands.file_watch import FileWatch, content_of
from gemini_backend.commands.reload import Reloader
from gemini_backend.config import ConfigError, read
from gemini_backend.config.checks import PLAIN_TEXT, check_keys, plain_text_ports
from gemini_backend.config.sources import FILE_VARIABLE
from gemini_backend.memory import settle_collector
from gemini_backend.signals import Signals
from gemini_backend.standard_files import give_up_output
from gemini_backend.telemetry.logs.log_setup import set_up
from gemini_backend.telemetry.logs.log_writer import LogWriter
from gemini_backend.telemetry.logs.stack_dump import task_stacks, thread_stacks
from gemini_backend.telemetry.logs.unhandled import log_unhandled
from gemini_backend.upstream.factory import SIMULATOR, make
from gemini_backend.upstream.keys import has_stored_keys

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Coroutine
    from typing import Any

    from gemini_backend.config import Settings

    T = TypeVar("T")

DONE, FAILED, WRONG_USE = 0, 1, 2
# What closing may take beyond the drain; and how long the last lines wait for a reader.
_CLOSE_SECONDS = 5.0
_FLUSH_SECONDS = 1.0

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
    sources = partial(read, args.config, os.environ, options)
    file = str(args.config or os.environ.get(FILE_VARIABLE, ""))
    content = content_of(file) if file else b""
    try:
        settings = sources()
        check_keys(settings, stored=has_stored_keys(settings.config.state.dir))
    except ConfigError as error:
        print(_sentence(error), file=sys.stderr)
        return WRONG_USE
    lines = LogWriter(form=settings.config.logging.format)
    set_up(settings.config.logging.level, settings.config.logging.format, lines)
    try:
        raise_file_limit(settings.config)
        return uvloop.run(_serve(settings, lines, partial(Reloader, file, sources, taken=content)))
    except (ConfigError, OSError) as error:
        lines.write(_sentence(error))
        return WRONG_USE if isinstance(error, ConfigError) else FAILED
    finally:
        lines.flush(_FLUSH_SECONDS)


async def _serve(settings: Settings, lines: LogWriter, reloads: Callable[[Any], Reloader]) -> int:
    log_unhandled(asyncio.get_running_loop())
    signals = Signals(partial(lines.flush, _FLUSH_SECONDS / 2))
    signals.at_once(signal.SIGQUIT, partial(_dump_stacks, asyncio.get_running_loop()))
    provider = await make(settings.config)
    backend = Backend(settings, os.environ, lines, provider)
    reloader = reloads(backend.reload)

    def hang_up() -> None:
        reloader.ask()
        backend.read_keys_again()
        backend.reload_certificates()

    signals.on(signal.SIGHUP, hang_up)
    signals.on(signal.SIGUSR1, backend.log_state)
    if provider.facts.provider == SIMULATOR:
        _say_simulated(settings, lines)
    elif provider.facts.proxy:
        _log.info("upstream_proxy", extra={"proxy": provider.facts.proxy})
    try:
        ports = await _unless(signals.stop, backend.start())
        if ports is not None:
            settle_collector()
            _announce(str(ports))
            _warn_of_certificates(settings)
            _warn_of_plain_text(settings)
            await _unless(signals.stop, _reloading(reloader, settings))
            seconds = backend.config.server.drain_seconds
            _log.info("draining", extra={"seconds": seconds})
            signals.end_within(seconds + LAST_WORDS_SECONDS + _CLOSE_SECONDS)
            await _unless(signals.hurry, backend.drain())
    finally:
        await backend.aclose()
    _log.info("stopped")
    signals.end_within(_CLOSE_SECONDS)  # a thread may still wait for a name server
    return DONE


async def _reloading(reloader: Reloader, settings: Settings) -> None:
    """Reload whenever asked, or the file has changed, until cancelled."""
    watch = FileWatch(reloader)
    if reloader.file and settings.config.revisions.watch_file:
        watch.start(asyncio.get_running_loop())
    try:
        await reloader.run()
    finally:
        watch.stop()


def _warn_of_plain_text(settings: Settings) -> None:
    """Log which ports take keys and tokens from other machines without TLS."""
    for setting in plain_text_ports(settings.config):
        _log.warning("no_tls", extra={"setting": setting, "reason": PLAIN_TEXT})


def _warn_of_certificates(settings: Settings) -> None:
    """Log which certificates are not valid now, or not for long; the others ended the start."""
    for one in certificate_findings(settings.config, time.time()):
        if words := one.problem or one.notice:
            _log.warning("certificate", extra={"setting": one.check, "reason": words})


async def _unless(event: asyncio.Event, work: Coroutine[Any, Any, T]) -> T | None:
    """Return what `work` gives; None, with the work cancelled, where `event` is set before."""
    working, waiting = asyncio.ensure_future(work), asyncio.ensure_future(event.wait())
    try:
        await asyncio.wait({working, waiting}, return_when=asyncio.FIRST_COMPLETED)
        return working.result() if working.done() else None
    finally:
        working.cancel()
        waiting.cancel()
        await asyncio.gather(working, waiting, return_exceptions=True)


def _announce(line: str) -> None:
    """Print the ready line; a server whose line nobody reads serves all the same."""
    try:
        print(line, flush=True)
    except OSError as error:
        give_up_output()
        _log.warning("ready_line_not_written", extra={"reason": error.strerror})


def _say_simulated(settings: Settings, lines: LogWriter) -> None:
    asked = settings.config.upstream.provider == SIMULATOR
    why = "upstream.provider is simulator" if asked else "GEMINI_API_KEY is not set"
    if settings.config.logging.level != "error":
        lines.write(f"answers come from the built-in simulator, not from Gemini: {why}")


def _dump_stacks(loop: asyncio.AbstractEventLoop) -> None:
    """Log where the threads are, at once, and where the tasks are, if the loop still turns."""
    _log.warning("thread_stacks", extra={"stacks": thread_stacks()})
    loop.call_soon_threadsafe(_dump_tasks)


def _dump_tasks() -> None:
    _log.warning("task_stacks", extra={"stacks": task_stacks()})


def _sentence(error: Exception) -> str:
    return f"gemini-backend serve: {error}"
