"""The one seam between the chain and a model API.

A `Provider` is a model API as it is configured: what the rest of the server has to know before the
first call. It makes the `Upstream`, which is called. `upstream/factory.py` chooses the provider;
nothing else knows which there are.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, time, timedelta
from typing import TYPE_CHECKING, Protocol

from gemini.backend.v1 import content_pb2
from gemini.backend.v1 import execute_service_pb2 as pb
from gemini_backend.models.listing import UpstreamModel

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

    from gemini_backend.call import Call, UpstreamKey
    from gemini_backend.clock import Clock
    from gemini_backend.config import Config
    from gemini_backend.errors import ServiceError
    from gemini_backend.telemetry.events import Publisher
    from gemini_backend.upstream.keys import KeySet


__all__ = ["Connect", "EmbedBatch", "Provider", "Upstream", "UpstreamFacts", "UpstreamKeys"]
__all__ += ["UpstreamModel"]


@dataclass(frozen=True, slots=True)
class EmbedBatch:
    """Contents to be embedded by one model, each a request of its own with one content.

    The policies see it as they see an execution: its contents count as a prompt.
    """

    model: str
    requests: Sequence[pb.EmbedRequest]
    prompt: str = ""
    system_instruction: content_pb2.Content = field(default_factory=content_pb2.Content)
    priority: pb.Priority.ValueType = pb.PRIORITY_INTERACTIVE

    @property
    def contents(self) -> list[content_pb2.Content]:
        """All contents, in order."""
        return [request.contents[0] for request in self.requests]


class Upstream(Protocol):
    """A model API.

    Every method raises a `ServiceError` when it fails, lets CancelledError pass, and closes its
    connection at once when it is left early. `request.model` is always set, a full name to which
    it has no `objection`. Each attempt is recorded in `call.outcome.attempts`, and published when
    it has ended (`telemetry.events.attempt_finished`).
    """

    def objection(self, model: str) -> str:
        """Return why it can have no model of such a name, in words; empty where it may."""
        ...

    def stream(self, call: Call, request: pb.ExecuteRequest) -> AsyncIterator[pb.ExecuteResponse]:
        """Yield `started`, deltas, `usage` where it comes alone, `completed`.

        The first event is not yielded before the first piece of the answer is there: until then
        the answer may still be had elsewhere. Nor is any later event that says nothing before one
        that does, or the end: the limits of time further out count what is yielded. `execution`,
        `sequence`, cost, timing and attempts are left to the layers outside.
        """
        ...

    async def process(self, call: Call, request: pb.ExecuteRequest) -> pb.ProcessResponse:
        """Return the whole answer; candidates, prompt feedback, usage and `started` are set."""
        ...

    async def count_tokens(
        self, call: Call, request: pb.CountTokensRequest
    ) -> pb.CountTokensResponse:
        """Count the tokens of a request without running it."""
        ...

    async def embed(self, call: Call, batch: EmbedBatch) -> pb.EmbedResponse:
        """Return the vectors of a batch, one a content, in order."""
        ...

    async def models(self, timeout_seconds: float) -> list[UpstreamModel]:
        """Return every model that the upstream offers, all pages."""
        ...

    def connections(self) -> int:
        """Return how many connections are in use just now."""
        ...

    def reconfigure(self, config: Config) -> None:
        """Take over the live settings of a new configuration; they count from the next call on."""
        ...

    async def aclose(self) -> None:
        """Close every connection."""
        ...


class UpstreamKeys(Protocol):
    """The keys, as an upstream sees them.

    A call of the chain comes with its key (`call.KEY`), already taken. An upstream takes one by
    itself for a call that comes without, and notes how each call of a model ended.
    """

    def take(self, model: str, /) -> UpstreamKey:
        """Return the key for a call of a model, in flight until it is given back.

        Raises:
            NoUpstreamKey: no key is configured.
        """
        ...

    def peek(self) -> UpstreamKey:
        """Return a key for what is not a call of a model, such as the list of models.

        Raises:
            NoUpstreamKey: no key is configured.
        """
        ...

    def give_back(self, key: UpstreamKey, /) -> None:
        """Count one call less in flight."""
        ...

    def note(self, key: UpstreamKey, model: str, error: ServiceError | None, /) -> None:
        """Note how a call with a key ended; None for well."""
        ...


class Connect(Protocol):
    """Makes an upstream; the first connection is opened by the first call."""

    def __call__(self, clock: Clock, keys: UpstreamKeys, bus: Publisher, /) -> Upstream:
        """Make it.

        Args:
            clock: Times the attempts.
            keys: Picks the keys of calls that come with none.
            bus: Where the end of each attempt is published, and what concerns connections.
        """
        ...


@dataclass(frozen=True, slots=True)
class UpstreamFacts:
    """What health reports of an upstream.

    `proxy` is the address of the proxy that it is reached through, without its password; empty for
    none. `max_connections` is 0 where there is no limit.
    """

    provider: str
    base_url: str = ""
    api_version: str = ""
    max_connections: int = 0
    proxy: str = ""


def until_midnight_utc(now: datetime) -> float:
    """Return the seconds from `now`, a time with a zone, to the next midnight UTC."""
    today = now.astimezone(UTC).date()
    return (datetime.combine(today + timedelta(days=1), time(), UTC) - now).total_seconds()


def five_minutes(_config: Config) -> float:
    """Return 300 seconds, whatever is configured."""
    return 300.0


async def _nothing_to_end() -> None:
    """End nothing."""


@dataclass(frozen=True, slots=True)
class Provider:
    """A model API as it is configured: what others need to know of it, and how it is made.

    Attributes:
        facts: What health reports.
        connect: Makes the upstream; is called once.
        keys: The keys, which may change while the server runs; None for an API that takes none.
            Without any the calls fail as NoUpstreamKey.
        follows_sources: Whether keys of file, command and store are added to `keys`.
        key_rest_seconds: Gives how long a refused key is not used, by the configuration in force.
        models_refresh_seconds: Time between two readings of the list of models.
        until_quota_reset: Gives the seconds from a time of day, with its zone, until quotas by the
            day begin anew.
        aclose: Ends what was started for the upstream, such as a server on this machine; is called
            after the upstream is closed.
    """

    facts: UpstreamFacts
    connect: Connect
    keys: KeySet | None = None
    follows_sources: bool = False
    key_rest_seconds: Callable[[Config], float] = five_minutes
    models_refresh_seconds: float = 300.0
    until_quota_reset: Callable[[datetime], float] = until_midnight_utc
    aclose: Callable[[], Awaitable[None]] = _nothing_to_end
