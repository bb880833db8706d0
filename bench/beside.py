"""What `make bench` measures beside the rows of the table: each is a command of its own as well."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench import cancels, hits, sessions, sharing, unread

if TYPE_CHECKING:
    from collections.abc import Callable

    from bench.cancels import Cancels
    from bench.measures.comparisons import Comparison
    from bench.programs.build import Binaries
    from bench.programs.processes import Service
    from bench.unread import Unread

ROUNDS = 3


@dataclass(frozen=True)
class Beside:
    """Ratios of our server to itself and to an echo; callers that do not read, or leave."""

    comparisons: list[Comparison]
    unread: Unread
    cancels: Cancels


def measure(upstream: Service, binaries: Binaries, say: Callable[[str], None]) -> Beside:
    """Measures all of it, one after the other, each on a server started for it.

    Raises:
        StartError: a server did not become ready.
        grpc.aio.AioRpcError: a call failed.
    """
    comparisons = hits.measure(upstream, binaries, ROUNDS)
    say("answers from the cache are measured")
    comparisons.append(sharing.measure(upstream, binaries, ROUNDS))
    say("followers are measured")
    comparisons += sessions.measure(upstream, ROUNDS)
    say("sessions are measured")
    not_reading = unread.measure()
    say("callers that do not read are measured")
    left = cancels.measure()
    say("cancels are measured")
    return Beside(comparisons, not_reading, left)
