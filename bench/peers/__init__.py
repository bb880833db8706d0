"""The gateways that ours is compared with, each installed into an environment of its own."""

from __future__ import annotations

from bench.peers.environment import install
from bench.peers.ferrogw import FERROGW
from bench.peers.litellm import LITELLM
from bench.peers.tensorzero import TENSORZERO

__all__ = ["PEERS", "install"]

PEERS = (FERROGW, TENSORZERO, LITELLM)
