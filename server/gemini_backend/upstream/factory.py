"""Which upstream answers, made from the configuration."""

from __future__ import annotations

from ssl import SSLError
from typing import TYPE_CHECKING

from gemini_backend.config import ConfigError
from gemini_backend.config.sections.upstream import GeminiOptions as GeminiSection
from gemini_backend.upstream.gemini import GeminiOptions
from gemini_backend.upstream.gemini.connection.proxy import Proxy, ProxyAddressError
from gemini_backend.upstream.gemini.connection.sockets import trusting

if TYPE_CHECKING:
    from gemini_backend.config import Config
    from gemini_backend.upstream.simulator import Simulator

# The simulator takes any key; this one is nobody's.
_SIMULATOR_KEY = "any-key-opens-the-simulator"
# So that an answer is seen to stream, as Gemini's do.
_SIMULATOR_CHUNK_DELAY_SECONDS = 0.02
_SIMULATOR_HOST = "127.0.0.1"
_NO_PROXY = "none"


def simulator_wanted(config: Config) -> bool:
    """Say whether the built-in simulator answers: when asked for, or for want of a key.

    An address of one's own without a key is no reason: it may be a mistake, and its calls fail
    with a reason that says so.
    """
    gemini = config.upstream.gemini
    keyless = not gemini.api_keys and gemini.base_url == GeminiSection().base_url
    return config.upstream.provider == "simulator" or keyless


def gemini_options(config: Config, simulator: Simulator | None) -> GeminiOptions:
    """Return how the upstream is to be reached, the simulator's address where there is one.

    Raises:
        ConfigError: the proxy's address is none, or the file of authorities cannot be used.
    """
    gemini = config.upstream.gemini
    if simulator is None and gemini.ca_file:
        _check_authorities(gemini.ca_file)
    return GeminiOptions(
        base_url=gemini.base_url if simulator is None else simulator.url,
        api_version=gemini.api_version if simulator is None else "v1beta",
        api_keys=tuple(key.reveal() for key in gemini.api_keys)
        if simulator is None
        else (_SIMULATOR_KEY,),
        max_connections=gemini.max_connections,
        keepalive_seconds=gemini.keepalive_seconds,
        settle_seconds=gemini.settle_ms / 1000,
        tcp_keepalive_time_seconds=gemini.tcp_keepalive_time_seconds,
        tcp_keepalive_timeout_seconds=gemini.tcp_keepalive_timeout_seconds,
        proxy=proxy_of(config) if simulator is None else None,
        ca_file=gemini.ca_file if simulator is None else "",
        connect_timeout_seconds=gemini.connect_timeout_seconds,
        max_event_bytes=gemini.max_event_bytes,
        max_body_bytes=gemini.max_body_bytes,
        idle_timeout_seconds=config.execution.idle_timeout_seconds,
        merge_deltas=config.execution.merge_deltas,
    )


def proxy_of(config: Config) -> Proxy | None:
    """Return the proxy that Gemini is to be reached through; None for none.

    Raises:
        ConfigError: its address is none.
    """
    text = config.upstream.gemini.proxy_url.reveal().strip()
    if not text or text.lower() == _NO_PROXY:
        return None
    try:
        return Proxy.of(text)
    except ProxyAddressError as error:
        msg = (
            "upstream.gemini.proxy_url, or HTTPS_PROXY, HTTP_PROXY or ALL_PROXY where it is not "
            f"set, cannot be used: {error}; make it like http://HOST:PORT, or set "
            f"upstream.gemini.proxy_url to {_NO_PROXY!r} to go without"
        )
        raise ConfigError.at(msg, "upstream.gemini.proxy_url") from None


def _check_authorities(ca_file: str) -> None:
    """Refuse a file of authorities that cannot be used.

    Raises:
        ConfigError: it is so.
    """
    try:
        trusting(ca_file)
    except OSError as error:
        why = "it holds no certificates" if isinstance(error, SSLError) else error.strerror
        msg = (
            f"upstream.gemini.ca_file {ca_file} cannot be used: {why}; name a readable file with "
            "certificates in PEM, or leave it empty for the system's"
        )
        raise ConfigError.at(msg, "upstream.gemini.ca_file") from None


async def start_simulator(config: Config) -> Simulator:
    """Start the simulator on a free port of this machine.

    Raises:
        ConfigError: its script cannot be read, or makes no sense.
    """
    from gemini_backend.upstream.simulator import Simulator, SimulatorOptions
    from gemini_backend.upstream.simulator.engines import EngineError
    from gemini_backend.upstream.simulator.faults import Script, ScriptError, read_script

    section = config.upstream.simulator
    try:
        script = read_script(section.script) if section.script else Script()
    except ScriptError as error:
        raise ConfigError.at(str(error), "upstream.simulator.script") from error
    try:
        simulator = Simulator(
            SimulatorOptions(
                engine=section.engine, script=script, chunk_delay=_SIMULATOR_CHUNK_DELAY_SECONDS
            )
        )
        await simulator.start(_SIMULATOR_HOST, 0)
    except EngineError as error:
        raise ConfigError.at(str(error), "upstream.simulator.engine") from error
    return simulator
