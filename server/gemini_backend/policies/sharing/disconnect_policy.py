"""A run that outlives its caller: what becomes of it once nobody reads it any more."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gemini.backend.v1 import execute_service_pb2 as pb
from gemini.backend.v1.content_pb2 import UsageQuality
from gemini_backend.errors import Cancelled, Overloaded
from gemini_backend.policies.sharing.detached_run import DetachedRun
from gemini_backend.processing.tokens.rules_of_thumb import typical_tokens

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from gemini.backend.v1.content_pb2 import Usage
    from gemini_backend.call import Budget, Call
    from gemini_backend.clock import Alarm, Clock
    from gemini_backend.errors import ServiceError
    from gemini_backend.policies.event_stream import EventStream
    from gemini_backend.policies.sharing.replay_buffer import ReplayBuffer

_DRAIN = pb.DISCONNECT_MODE_DRAIN


class LastingRun:
    """One run with `on_disconnect` KEEP or DRAIN.

    Without a reader KEEP goes on for `grace` seconds, then the run is cancelled; DRAIN goes on to
    the end, or until about so many more output tokens have come as the request allows. Neither
    bound ends a run that a repetition of its request waits for. Whatever comes to its end without
    a reader says so by the quality of its usage.
    """

    def __init__(
        self,
        call: Call,
        buffer: ReplayBuffer,
        asked: pb.OnDisconnect,
        grace: float,
        *,
        clock: Clock,
        ended: Callable[[LastingRun, BaseException | None], None],
        wanted: Callable[[], bool] = lambda: True,
    ) -> None:
        """Make ready a run for `call`; it goes on only as long as `wanted` says so."""
        self.buffer = buffer
        self.call = call.narrowed(budget=_LastingBudget(call.budget, self))
        self._run = DetachedRun(self.call, buffer, self._write, self._over)
        self._told = ended
        self._drains = asked.mode == _DRAIN
        self._most = asked.drain_max_tokens
        self._grace = grace
        self._clock = clock
        self._wanted = wanted
        self._alarm: Alarm | None = None
        self._tokens = 0
        self._left_at = 0
        self.alone = False
        self.expired = False

    def taken_up(self) -> None:
        """Somebody reads it again."""
        self.alone = False
        self._forget_alarm()

    def left(self) -> bool:
        """A reader has gone; look whether it was the last one, and return that."""
        if self.buffer.readers or self.buffer.ended:
            return False
        self.alone = True
        self._left_at = self._tokens
        if not self._drains:
            self._forget_alarm()
            self._alarm = self._clock.alarm(self._grace, self._grace_over)
        return True

    def start(self, opens: Callable[[], Awaitable[EventStream]]) -> None:
        """Begin the rest of the call by `opens`."""
        self._run.start(opens)

    def stop(self, why: ServiceError) -> None:
        """Begin to stop: the run fails with `why`, and so does whoever reads it."""
        self.call.outcome.cut_short = why
        self._run.stop()

    async def cancel(self) -> None:
        """Stop, and come back when everything further in is closed."""
        await self._run.cancel()

    def _grace_over(self) -> None:
        if self._is_awaited():
            self._alarm = self._clock.alarm(self._grace, self._grace_over)
            return
        self.expired = True
        self.stop(
            Cancelled(
                "the execution was cancelled because it was not resumed within its grace period of "
                f"{self._grace:g} s; send the request again"
            )
        )

    def _is_awaited(self) -> bool:
        """Say whether its request was sent again: that execution waits for what this one leaves."""
        awaited = self.call.outcome.awaited
        return awaited is not None and awaited()

    def wants_more(self) -> bool:
        """Return whether more may be asked for; what is drained is read to its end, no further."""
        return not (self._drains and self.alone) or self._is_awaited()

    def _write(self, event: Any) -> None:
        self._look(event)
        data = self.buffer.append(event)
        keeper = self.call.outcome.keeper
        if keeper is not None:
            keeper.made(event, data)

    def _look(self, event: Any) -> None:
        """Follow how much has come; raise to end the run."""
        if not self._wanted():
            raise Overloaded(
                "the journal was full, so the execution was cancelled; send the request again"
            )
        if isinstance(event, pb.ProcessResponse):
            self._mark(event)
            return
        kind = event.WhichOneof("event")
        if kind == "completed":
            self._mark(event.completed)
        elif self._drains and self._most and kind != "started":
            self._count(event, kind)
            used_up = self.alone and self._tokens - self._left_at >= self._most
            if used_up and not self._is_awaited():
                raise Cancelled(
                    f"the execution was closed {self._most} tokens after its caller had "
                    "disconnected, the limit of on_disconnect.drain_max_tokens; send the request "
                    "again"
                )

    def _mark(self, whole: pb.Completed | pb.ProcessResponse) -> None:
        if self.alone and whole.HasField("usage"):
            # what was doubtful before stays so
            whole.usage.quality = max(whole.usage.quality, UsageQuality.USAGE_QUALITY_DRAINED)

    def _count(self, event: pb.ExecuteResponse, kind: str) -> None:
        usage = event.usage if kind == "usage" else event.delta.usage
        said = _output_tokens(usage)
        if said:
            self._tokens = said
        else:
            written = sum(len(part.text) for part in event.delta.parts)
            self._tokens += typical_tokens(written)

    def _over(self, error: BaseException | None) -> None:
        self._forget_alarm()
        self._told(self, error)

    def _forget_alarm(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None


class _LastingBudget:
    """The caller's deadline; more is wanted as long as the run is not merely drained."""

    __slots__ = ("_run", "deadline")

    def __init__(self, caller: Budget, run: LastingRun) -> None:
        self.deadline = caller.deadline
        self._run = run

    def wanted(self) -> bool:
        return self._run.wants_more()


def _output_tokens(usage: Usage) -> int:
    return usage.candidates_token_count + usage.thoughts_token_count
