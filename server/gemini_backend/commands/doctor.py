"""`gemini-backend doctor`: checks the set-up and says what to mend. Costs nothing upstream."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from gemini_backend import masking
from gemini_backend.clock import SystemClock
from gemini_backend.commands.certificate_checks import Finding, certificate_findings
from gemini_backend.commands.keys import api_key_problems
from gemini_backend.config import ConfigError, read
from gemini_backend.config.checks import PLAIN_TEXT, check_exposure, check_keys, plain_text_ports
from gemini_backend.config.network.listen import parse_listen
from gemini_backend.errors import ServiceError
from gemini_backend.keyring import LazyKeyring
from gemini_backend.models.catalogue import load
from gemini_backend.models.names import full_name
from gemini_backend.policies.attempts.key_pool import KeyPool
from gemini_backend.telemetry.events import SILENT
from gemini_backend.upstream.factory import SIMULATOR, chosen, make
from gemini_backend.upstream.keys import KeySources, KeyStore, has_stored_keys

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from gemini_backend.clock import Clock
    from gemini_backend.config import Config
    from gemini_backend.upstream.base import Provider, Upstream

DONE, FAILED = 0, 1
_TIMEOUT_SECONDS = 15.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("--config", type=Path, metavar="FILE", help="TOML file with settings")


def run(args: argparse.Namespace) -> int:
    """Print a line a check; return 1 when one of them found something to mend."""
    try:
        settings = read(args.config, os.environ)
        config = settings.config
        check_exposure(config)
        check_keys(settings, stored=has_stored_keys(config.state.dir))
    except ConfigError as error:
        _report("configuration", str(error))
        return FAILED
    _report("configuration", "")
    found = [Finding(*one) for one in (*_ports(config), _catalogue(config))]
    found += certificate_findings(config, time.time())
    found += [Finding(*one) for one in api_key_problems(config)]
    found += [Finding(port, "", PLAIN_TEXT) for port in plain_text_ports(config)]
    try:
        found += asyncio.run(_upstream(config))
    except ConfigError as error:
        found += [Finding(problem.path, problem.message) for problem in error.problems]
    for one in found:
        _report(one.check, one.problem, one.notice)
    return FAILED if any(one.problem for one in found) else DONE


def _report(check: str, problem: str, notice: str = "") -> None:
    said = masking.text(problem or (f"ok, but {notice}" if notice else "ok"))
    print(f"{check}: {said}", file=sys.stderr if problem else sys.stdout, flush=True)


def _ports(config: Config) -> Iterator[tuple[str, str]]:
    listens = {"server.listen": config.server.listen}
    if config.web.enabled:
        listens["web.listen"] = config.web.listen
    if config.web.probe_listen:
        listens["web.probe_listen"] = config.web.probe_listen
    for path, text in listens.items():
        listen = parse_listen(path, text)
        family = socket.AF_INET6 if ":" in listen.host else socket.AF_INET
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((listen.host, listen.port))
            except OSError as error:
                problem = f"{listen} cannot be used ({error.strerror}); free it or set {path}"
                yield path, problem
            else:
                yield path, ""


def _catalogue(config: Config) -> tuple[str, str]:
    path = "models.catalogue_file"
    try:
        load(config.models.catalogue_file)
    except ConfigError as error:
        return path, str(error).removeprefix(f"{path}: ")
    return path, ""


async def _upstream(config: Config) -> list[Finding]:
    """Read the keys, ask for the list of models, which is free, and look for the default model.

    Raises:
        ConfigError: the settings of the way there cannot be carried out.
    """
    if chosen(config) == SIMULATOR:
        print("upstream: the built-in simulator; set GEMINI_API_KEY to use Gemini")
        return [Finding("upstream")]
    provider = await make(config)
    if provider.facts.proxy:
        print(f"upstream: through the proxy at {provider.facts.proxy}")
    clock = SystemClock()
    found = await _read_keys(config, provider, clock)
    known = () if provider.keys is None else provider.keys.keys
    keys = KeyPool(known, clock, lambda: provider.key_rest_seconds(config))
    upstream = provider.connect(clock, keys, SILENT)
    try:
        return [*found, Finding("upstream", await _listed(config, upstream))]
    finally:
        await upstream.aclose()
        await provider.aclose()


async def _listed(config: Config, upstream: Upstream) -> str:
    """Return what is wrong with the list of models, or with the default model."""
    try:
        async with asyncio.timeout(_TIMEOUT_SECONDS):
            names = {model.name for model in await upstream.models(_TIMEOUT_SECONDS)}
    except ServiceError as error:
        return error.message
    except TimeoutError:
        return f"no answer within {_TIMEOUT_SECONDS:g} s; check upstream.gemini.base_url"
    default = full_name(config.execution.default_model)
    if default not in names:
        return (
            f"the default model {default} is not offered by the model API; set "
            "execution.default_model"
        )
    return ""


async def _read_keys(config: Config, provider: Provider, clock: Clock) -> list[Finding]:
    """Read the sources of keys, say how many there are of each, and return what is wrong."""
    if provider.keys is None or not provider.follows_sources:
        return []
    store = KeyStore(LazyKeyring(config.state.dir, config.secrets))
    sources = KeySources(config.upstream.gemini, provider.keys, store, clock)
    try:
        await sources.refresh()
    finally:
        sources.close()
    counts = Counter(one.source.value for one in provider.keys.known)
    said = ", ".join(f"{count} of {name}" for name, count in counts.items())
    print(f"upstream keys: {said or 'none'}")
    return [Finding("upstream keys", problem) for problem in sources.problems]
