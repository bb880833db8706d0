"""What is counted, and the client that asks for it."""

from __future__ import annotations

import time
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING

import grpc

from bench.instructions.callgrind import CountError
from bench.instructions.parts import LONG, SHORT
from bench.programs import ask_backend

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

NUMBER = b"0000000000"  # in the prompt: replaced, so that no two requests are the same
EVENTS = 20
LIMIT_SECONDS = 120.0
# Longer than a connection to the upstream stays in use after an answer, and than the work that
# follows a call takes under callgrind.
QUIET_SECONDS = 0.2


@dataclass(frozen=True)
class Kind:
    """One kind of call.

    Attributes:
        name: what the table calls it.
        model: tells the upstream what to do.
        events: that the upstream sends for one call.
        divisor: the count of a call is divided by it.
        samples: in a round, each of which is counted by itself.
        calls: in a sample.
        period: seconds between the starts of two calls.
        warm_up: calls that are not counted.
    """

    name: str
    model: str
    events: int
    divisor: int
    samples: int
    calls: int
    period: float
    warm_up: int


def _paced(events: int, period: float) -> Kind:
    # Under callgrind an event takes about 15 ms, so that it is sent before the next one comes. On
    # a busy machine some are late and sent together: each stream is a sample, and the median
    # ignores those.
    name, model = f"paced stream of {events} events", f"bench-paced-50x{events}"
    return Kind(name, model, events, 1, samples=2, calls=1, period=period, warm_up=2)


UNARY = Kind("unary call", "bench-unary", 1, 1, samples=2, calls=8, period=0.3, warm_up=60)
BURST = Kind(
    "burst, per event", "bench-burst", EVENTS, EVENTS, samples=2, calls=8, period=0.3, warm_up=60
)
PACED_SHORT, PACED_LONG = _paced(SHORT, 0.6), _paced(LONG, 1.4)
KINDS = (UNARY, BURST, PACED_SHORT, PACED_LONG)


class Client:
    """Makes one call at a time, over one connection."""

    def __init__(self, address: str) -> None:
        """Connects to HOST:PORT when the first call is made."""
        self._address = address
        self._channel = grpc.insecure_channel(address)
        self._numbers = count(1)

    def __enter__(self) -> Self:
        """Returns itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Closes the connection."""
        self._channel.close()

    def warm_up(self, kind: Kind) -> None:
        """Makes calls one right after the other.

        Raises:
            CountError: one of them failed.
        """
        for _ in range(kind.warm_up):
            self._call(kind)

    def sample(self, kind: Kind) -> int:
        """Makes a sample's calls at even intervals, each to a server at rest.

        Returns:
            The messages received.

        Raises:
            CountError: one of them failed.
        """
        messages, due = 0, time.monotonic()
        for _ in range(kind.calls):
            messages += self._call(kind)
            due += kind.period
            time.sleep(max(QUIET_SECONDS, due - time.monotonic()))
        return messages

    def _call(self, kind: Kind) -> int:
        request = ask_backend(self._address, kind.model, kind.events)
        body = request.body.replace(NUMBER, b"%010d" % next(self._numbers))
        try:
            if kind.events == 1:
                self._channel.unary_unary(request.path)(body, timeout=LIMIT_SECONDS)
                return 1
            stream = self._channel.unary_stream(request.path)(body, timeout=LIMIT_SECONDS)
            return sum(1 for _ in stream)
        except grpc.RpcError as error:
            raise CountError(f"{kind.name} failed: {error}") from error
