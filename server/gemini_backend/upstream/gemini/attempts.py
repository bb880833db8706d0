"""One try at the model API, as it is told of afterwards."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, NamedTuple, Self

from gemini.backend.v1.content_pb2 import FINISH_REASON_PUP_LIMITED_DISABLED
from gemini_backend.call import AttemptRecord
from gemini_backend.errors import AccountLimited, OutOfDescriptors, ServiceError, masked
from gemini_backend.sizes import MIB
from gemini_backend.telemetry.events import (
    AttemptFinished,
    BodyHeld,
    DescriptorsRanOut,
    attempt_finished,
)
from gemini_backend.upstream.gemini.failure.blame import refers_to_resource
from gemini_backend.upstream.gemini.failure.unexplained import UnexplainedRefusal

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from gemini.backend.v1.content_pb2 import Usage
    from gemini_backend.call import Call, UpstreamKey
    from gemini_backend.clock import Clock
    from gemini_backend.errors import UpstreamReply
    from gemini_backend.telemetry.events import Publisher
    from gemini_backend.upstream.base import UpstreamKeys
    from gemini_backend.upstream.gemini.connection.exchange import Exchange
    from gemini_backend.upstream.gemini.key_trial import KeyTrial


_LIMITED = FINISH_REASON_PUP_LIMITED_DISABLED


def account_limited(upstream: UpstreamReply | None = None) -> AccountLimited:
    """Return the failure that an answer of a limited account is."""
    return AccountLimited(
        "the provider limits the account that the key belongs to; the key is not used for now. "
        "Resolve it with the account at Google, or add a key of another account to "
        "upstream.gemini.api_keys",
        upstream=upstream,
    )


class KeyInUse(NamedTuple):
    """A key, its text, whether it was taken for this one try, and how it is tried apart."""

    key_pool: UpstreamKeys
    key: UpstreamKey
    text: str
    taken: bool
    trial: KeyTrial


class Attempt:
    """A scope that records one try in `call.outcome.attempts` and closes its connection at the end.

    A stream that has begun is no scope: it calls `end` by itself. Secrets are masked in every error
    that leaves it, and a refusal that does not say whose fault it is becomes the caller's or the
    key's: the caller's where the request names something that belongs to one project, else by a
    trial of the key.
    """

    __slots__ = (
        "_body_bytes",
        "_bus",
        "_clock",
        "_key",
        "_over",
        "_record",
        "asked",
        "call",
        "exchange",
        "model",
    )

    def __init__(
        self,
        call: Call,
        model: str,
        key: KeyInUse,
        clock: Clock,
        *,
        bus: Publisher,
    ) -> None:
        """Begin a try of `model` with a key; its end is published on `bus`."""
        self._bus = bus
        self._body_bytes = 0
        self.call = call
        self._clock = clock
        self.model = model
        self._key = key
        self._record = AttemptRecord(model=model, started=clock.now(), key_id=key.key.key_id)
        self._over = False
        self.exchange: Exchange | None = None
        self.asked = b""  # the request's body, until an answer begins
        call.outcome.attempts.append(self._record)

    def remaining(self) -> float | None:
        """Return the seconds that the call has left; None without a deadline."""
        return self.call.remaining(self._clock.now())

    @property
    def key(self) -> str:
        """The key's text, for the header."""
        return self._key.text

    def read(self, size: int) -> None:
        """Note that so many bytes of a whole body are there; told in steps of 1 MiB."""
        if size - self._body_bytes >= MIB:
            self._bus.publish(BodyHeld(size - self._body_bytes))
            self._body_bytes = size

    def tells(self, used: Callable[[], Usage | None]) -> None:
        """Let what the answer has used be asked for, should it end before its end."""
        self._record.used = used

    def succeeded(self, *finish_reasons: int) -> None:
        """Note that the answer is whole; whatever comes now is no longer the attempt's.

        An answer may end because the key's account is limited; then the key is set aside.
        """
        self._record.ended = self._clock.now()
        limited = account_limited() if _LIMITED in finish_reasons else None
        self._key.key_pool.note(self._key.key, self.model, limited)
        self._publish()
        if self.exchange is not None:
            self.exchange.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        _kind: type[BaseException] | None,
        error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        if error is None:
            self.end(None)
            return
        told = await self.failed(error)
        if told is not error:
            raise told from None

    async def failed(self, error: BaseException) -> BaseException:
        """End it by an error; return the one that is to be raised."""
        try:
            told = await self.explained(error)
        except BaseException as left:
            self.end(left)
            raise
        self.end(told)
        return told

    async def explained(self, error: BaseException) -> BaseException:
        """Return what a failure is, once that is known; gives its connection up.

        The wait for it may be cancelled and begun again.
        """
        if self.exchange is not None:
            self.exchange.close()
        return await self._explained(error) if isinstance(error, UnexplainedRefusal) else error

    def end(self, error: BaseException | None) -> None:
        """Note how it ended, by `error` if not well, and give up its connection and its key.

        Does nothing the second time.
        """
        if self.exchange is not None:
            self.exchange.close()
        if not self._over:
            self._over = True
            if self._body_bytes:
                self._bus.publish(BodyHeld(-self._body_bytes))
            self._end(error)

    async def _explained(self, error: UnexplainedRefusal) -> ServiceError:
        """Return what a refusal is, once that is known."""
        if refers_to_resource(self.model, self.asked):
            return error.of_request(names_resource=True)
        refusal = await self._key.trial.refusal(self._key.key)
        if refusal is not None:
            return error.of_key(refusal)
        return error.of_request(names_resource=False)

    def _end(self, error: BaseException | None) -> None:
        """Note how it ended, unless that was noted when the answer was whole."""
        if self._key.taken:
            self._key.key_pool.give_back(self._key.key)
        if self._record.ended is not None:
            return
        self._record.ended = self._clock.now()
        if isinstance(error, ServiceError):
            self._record.error = masked(error)
            self._key.key_pool.note(self._key.key, self.model, error)
            if isinstance(error, OutOfDescriptors):
                self._bus.publish(DescriptorsRanOut(self.call.execution))
        elif isinstance(error, asyncio.CancelledError | GeneratorExit):
            self._record.cancelled = True
        self._publish()

    def _publish(self) -> None:
        if self._bus.heard(AttemptFinished):
            self._bus.publish(attempt_finished(self.call, self._record))
