"""A request that a session has answered already, known by its id: it is given the same answer."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, cast

from gemini.backend.v1 import execute_service_pb2 as pb
from gemini.backend.v1 import session_service_pb2 as sessions
from gemini_backend.errors import Conflict
from gemini_backend.processing.answers.as_events import completed_of, deltas_of, started_of
from gemini_backend.processing.answers.extras import merge_extra
from gemini_backend.processing.answers.whole_answer import response_of
from gemini_backend.processing.slices import PIECE, Slices
from gemini_backend.stores.sessions import Receipt

if TYPE_CHECKING:
    from collections.abc import Generator

    from gemini_backend.call import Call
    from gemini_backend.clock import Clock
    from gemini_backend.stores.sessions import NewTurn

# How and when the answer is to come, and by what name: a repetition may change it.
_MANNER = (
    "session",
    "request_id",
    "priority",
    "first_token_timeout",
    "idle_timeout",
    "on_disconnect",
    "max_event_bytes",
)
_VERSION = b"turn-1"
# What was true of the execution that gave the answer, and is not of its repetition.
_OF_THEN = ("cache_status", "cache_age", "cache_similarity")


def turn_digest(request: pb.ExecuteRequest) -> bytes:
    """Return the digest of what is asked in a session: 32 bytes, the same in all later versions.

    `prompt` is the same as one user turn.
    """
    steps = _steps(request)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return cast("bytes", end.value)


async def sliced_turn_digest(call: Call, request: pb.ExecuteRequest, clock: Clock) -> bytes:
    """Return the same, in slices where the request is large.

    Raises:
        DeadlinePassed: the call's deadline passed meanwhile.
    """
    if not call.large:
        return turn_digest(request)
    steps = _steps(request)
    async with Slices(call, clock) as slices:
        while True:
            try:
                next(steps)
            except StopIteration as end:
                return cast("bytes", end.value)
            await slices.pause()


def _steps(request: pb.ExecuteRequest) -> Generator[None, None, bytes]:
    """Return the digest; each step takes time by the size of the request."""
    asked = pb.ExecuteRequest()
    asked.CopyFrom(request)
    yield
    for name in _MANNER:
        asked.ClearField(name)  # type: ignore[arg-type] # one of the names above
    if asked.prompt:
        asked.contents.add(role="user").parts.add(text=asked.prompt)
        asked.ClearField("prompt")
        yield
    written = memoryview(asked.SerializeToString(deterministic=True))
    digest = sha256(_VERSION)
    for begin in range(0, len(written), PIECE):
        yield
        digest.update(written[begin : begin + PIECE])
    return digest.digest()


class Answering:
    """Keeps what is said of an answer beside its candidates, for the receipt of its request."""

    __slots__ = ("_digest", "_started", "request")

    def __init__(self, request: pb.ExecuteRequest, digest: bytes) -> None:
        """Begin; a request without an id has no receipt, and needs no digest."""
        self.request = request
        self._digest = digest
        self._started = b""

    def begun(self, started: pb.Started) -> None:
        """Take what the first event says, before others change it."""
        if self.request.request_id:
            self._started = pb.ExecuteResponse(started=started).SerializeToString()

    def receipt(
        self, ended: pb.Completed | pb.ProcessResponse, beside: pb.ProcessResponse | None
    ) -> Receipt | None:
        """Return the receipt of the request; None where it has no id.

        Args:
            ended: The whole answer, or the last event of one.
            beside: What the deltas of a stream say beside their candidates.
        """
        if not self.request.request_id:
            return None
        if isinstance(ended, pb.Completed):
            done = pb.ExecuteResponse(completed=ended).SerializeToString()
            answer = response_of((self._started, done))
            answer.ClearField("usage")
            if beside is not None:
                merge_extra(answer, beside)
        else:
            answer = pb.ProcessResponse(started=ended.started, continuations=ended.continuations)
            if ended.HasField("prompt_feedback"):
                answer.prompt_feedback.CopyFrom(ended.prompt_feedback)
            merge_extra(answer, ended)
        data = answer.SerializeToString()
        return Receipt(self.request.request_id, self._digest, data)


class StoredAnswer:
    """The answer to a request that was made before; whoever is given it pays nothing."""

    def __init__(self, answered: NewTurn, request: pb.ExecuteRequest, digest: bytes) -> None:
        """Take what the store has for a request of that digest.

        Raises:
            Conflict: the turn with the request's id answers another request.
        """
        receipt = answered.receipt
        if receipt is None or receipt.digest != digest:
            raise Conflict(
                f"{request.session} has a turn with request_id {request.request_id!r} that answers "
                "another request; use a new request_id for each turn"
            )
        self._turn = sessions.SessionTurn.FromString(answered.data)
        self._answer = receipt.answer

    def whole(self, call: Call) -> pb.ProcessResponse:
        """Return it in one."""
        turn = self._turn
        response = pb.ProcessResponse.FromString(self._answer)
        response.candidates.extend(turn.candidates)
        if turn.HasField("output"):
            first = response.candidates[0] if response.candidates else response.candidates.add()
            first.content.CopyFrom(turn.output)
        if turn.HasField("usage"):
            response.usage.CopyFrom(turn.usage)
        call.outcome.pays = False
        if turn.HasField("cost"):
            cost = turn.cost
            response.cost.priced_model = cost.priced_model
            response.cost.saved_nano_usd = cost.cost_nano_usd + cost.saved_nano_usd
            call.outcome.cost_nano_usd = 0
        for name in _OF_THEN:
            response.started.ClearField(name)  # type: ignore[arg-type] # one of the names above
        response.started.replay_of = turn.execution
        call.outcome.model = response.started.model
        return response

    def events(self, call: Call) -> list[pb.ExecuteResponse]:
        """Return it as the events of a stream."""
        response = self.whole(call)
        return [
            pb.ExecuteResponse(started=started_of(response)),
            *(pb.ExecuteResponse(delta=delta) for delta in deltas_of(response)),
            pb.ExecuteResponse(completed=completed_of(response)),
        ]
