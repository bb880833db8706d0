"""The life of the process: starting, serving, draining; what runs and where."""

from __future__ import annotations

import asyncio
import secrets
import time
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class Stage(Enum):
    """Where in its life the process is; it never goes back."""

    STARTING = "starting"
    SERVING = "serving"
    DRAINING = "draining"


@dataclass(frozen=True, slots=True)
class Addresses:
    """`HOST:PORT` of each port that is open; empty for one that is off."""

    grpc: str = ""
    web: str = ""


class Lifecycle:
    """Told by the composition root, read by health and by whatever has to end with the server."""

    def __init__(self, wall: Callable[[], float] = time.time) -> None:
        """Begin to start; `wall` gives seconds since the epoch."""
        self.instance = secrets.token_hex(8)
        self.started = wall()
        self.stage = Stage.STARTING
        self.addresses = Addresses()
        self.draining = asyncio.Event()

    def serving(self, addresses: Addresses) -> None:
        """All ports are open."""
        self.stage = Stage.SERVING
        self.addresses = addresses

    def drain(self) -> None:
        """Nothing new is taken; what would never end by itself is told to end."""
        self.stage = Stage.DRAINING
        self.draining.set()
