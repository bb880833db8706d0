"""Which upstream answers, made from the configuration.

A row for each value of `upstream.provider`. Nothing else in the server knows which there are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gemini_backend.config import ConfigError
from gemini_backend.config.sections.upstream import GeminiOptions as GeminiSection
from gemini_backend.upstream.gemini import provider as gemini
from gemini_backend.upstream.keys import has_stored_keys

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from gemini_backend.config import Config
    from gemini_backend.upstream.base import Provider
    from gemini_backend.upstream.simulator import Simulator

SIMULATOR = "simulator"
# So that an answer is seen to stream, as Gemini's do.
_SIMULATOR_CHUNK_DELAY_SECONDS = 0.02
_SIMULATOR_HOST = "127.0.0.1"


async def make(config: Config) -> Provider:
    """Return the provider that a configuration chooses; what it needs beside it is started.

    Raises:
        ConfigError: the configuration cannot be carried out.
    """
    return await PROVIDERS[chosen(config)](config)


def chosen(config: Config) -> str:
    """Return which provider answers: the one that is set, or the simulator for want of a key.

    Blocks, since it looks whether there are stored keys.

    An address of one's own without a key is no reason: it may be a mistake, and its calls fail
    with a reason that says so.
    """
    section, asked = config.upstream.gemini, config.upstream.provider
    if asked != "gemini" or section.base_url != GeminiSection().base_url:
        return asked
    if section.api_keys or section.api_keys_file or section.api_keys_command:
        return asked
    return asked if has_stored_keys(config.state.dir) else SIMULATOR


async def _gemini(config: Config) -> Provider:
    return gemini.gemini(config)


async def _simulator(config: Config) -> Provider:
    simulator = await _started(config)
    return gemini.simulated(config, simulator.url, simulator.aclose)


async def _started(config: Config) -> Simulator:
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


PROVIDERS: Mapping[str, Callable[[Config], Awaitable[Provider]]] = {
    "gemini": _gemini,
    SIMULATOR: _simulator,
}
