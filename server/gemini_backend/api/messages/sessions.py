"""Sessions as the contract has them, and what is kept of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gemini.backend.v1 import session_service_pb2 as pb
from gemini_backend.durations import timestamp_of
from gemini_backend.errors import InvalidRequest, Violation

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gemini.backend.v1.content_pb2 import Content
    from gemini_backend.stores.sessions import SessionRow

# What its owner may set.
_SET = ("display_name", "model", "labels", "overflow", "concurrency", "system_instruction", "ttl")


def message_of(kept: SessionRow) -> pb.Session:
    """Return a session as it is shown."""
    session = pb.Session.FromString(kept.head)
    session.name = f"sessions/{kept.session}"
    session.turn_count = kept.turns
    session.etag = kept.etag
    session.create_time.CopyFrom(timestamp_of(kept.created))
    session.update_time.CopyFrom(timestamp_of(kept.used))
    if kept.expires is not None:
        session.expire_time.CopyFrom(timestamp_of(kept.expires))
    return session


def head_of(asked: pb.Session) -> pb.Session:
    """Return what is kept of a session to be made: without what only the server sets."""
    head = pb.Session()
    head.CopyFrom(asked)
    for field, _ in asked.ListFields():
        if field.name not in _SET:
            head.ClearField(field.name)  # type: ignore[arg-type] # the message's own field
    return head


def turns_of(history: Iterable[Content], seconds: float) -> list[pb.SessionTurn]:
    """Return what a session begins with as turns: a question and its answer each.

    Raises:
        InvalidRequest: roles do not alternate, or the first one is "model".
    """
    turns: list[pb.SessionTurn] = []
    model_may_speak = False
    for place, said in enumerate(history):
        if (said.role == "model") is not model_may_speak:
            wanted = '"model"' if model_may_speak else '"user" or "function"'
            msg = f"must be {wanted}: roles must alternate, and the first role must not be model"
            raise InvalidRequest(
                f"history[{place}].role: {msg}",
                violations=[Violation(f"history[{place}].role", msg, "session.roles")],
            )
        if model_may_speak:
            turns[-1].output.CopyFrom(said)
        else:
            stamp = timestamp_of(seconds)
            turns.append(pb.SessionTurn(index=len(turns) + 1, inputs=[said], create_time=stamp))
        model_may_speak = not model_may_speak
    return turns
