"""What every other part is made with: the settings in force, time, chance, the process itself."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING

from gemini_backend.api.requests.by_peer import RunningByPeer
from gemini_backend.api.requests.in_flight import Running
from gemini_backend.clock import SystemClock
from gemini_backend.config import ConfigStore, RevisionFile
from gemini_backend.config.revisions import file_in
from gemini_backend.keyring import LazyKeyring
from gemini_backend.memory import GivingBack, MemoryBudget, RequestRoom, automatic_bytes
from gemini_backend.sizes import MIB
from gemini_backend.telemetry.events import Bus
from gemini_backend.telemetry.health.lifecycle import Lifecycle
from gemini_backend.telemetry.metrics.process import LoopLag
from gemini_backend.wall_clock import WallClock

if TYPE_CHECKING:
    from gemini_backend.clock import Clock
    from gemini_backend.config import Config, Settings
    from gemini_backend.config.sections.server import ServerOptions


@dataclass(frozen=True, slots=True)
class Foundation:
    """Made first; it needs nothing but the settings.

    Parts follow live settings by reading `store.current` anew for each call.
    """

    store: ConfigStore
    clock: Clock
    wall: WallClock
    random: Random
    bus: Bus
    lifecycle: Lifecycle
    running: Running
    lag: LoopLag
    memory: MemoryBudget
    requests: RequestRoom
    giving_back: GivingBack
    keyring: LazyKeyring

    @property
    def config(self) -> Config:
        """The configuration in force."""
        return self.store.current


def lay_foundation(settings: Settings, clock: Clock | None = None) -> Foundation:
    """Return the foundation; the clock is the machine's unless another one is given.

    Raises:
        DamagedHistory: the revisions of earlier starts cannot be read.
    """
    clock = clock or SystemClock()
    store, automatic = ConfigStore(settings, kept=_kept(settings.config)), automatic_bytes()
    memory = MemoryBudget(lambda: store.current.server.max_memory_mb * MIB or automatic, clock)
    return Foundation(
        store=store,
        clock=clock,
        wall=WallClock(),
        random=Random(),  # noqa: S311 - spreads retries, guards nothing
        bus=Bus(),
        lifecycle=Lifecycle(),
        running=running_of(settings.config.server),
        lag=LoopLag(clock),
        memory=memory,
        requests=RequestRoom(memory, clock),
        giving_back=GivingBack(memory, clock),
        keyring=LazyKeyring(store.current.state.dir, store.current.secrets),
    )


def running_of(options: ServerOptions) -> Running:
    """Return what knows the RPCs under way; where they come from only if something needs it."""
    return RunningByPeer() if options.max_rpcs_per_peer or options.tls_cert_file else Running()


def _kept(config: Config) -> RevisionFile | None:
    if config.revisions.store == "memory":
        return None
    return RevisionFile(file_in(config.state.dir))
