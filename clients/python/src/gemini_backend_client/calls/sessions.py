"""Conversations that the server remembers, for both clients."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypedDict, TypeVar, Unpack

from gemini.backend.v1.execute_service_pb2 import ExecuteRequest, ProcessRequest
from gemini.backend.v1.session_service_pb2 import (
    CreateSessionRequest,
    DeleteSessionRequest,
    GetSessionRequest,
    ListSessionsRequest,
    Session,
)
from gemini_backend_client.calls.plan import Pages, Run, Surface, Unary, operation
from gemini_backend_client.connection import DEFAULT, Link
from gemini_backend_client.messages import Answer, build, new_request_id, to_content, to_contents

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import timedelta

    from google.protobuf.duration_pb2 import Duration

    from gemini.backend.v1.session_service_pb2 import (
        SessionConcurrency,
        SessionOverflow,
        SessionTurn,
    )
    from gemini_backend_client.connection import Timeout
    from gemini_backend_client.messages import ContentLike, ExecuteFields, ProcessFields

__all__ = ["Conversation", "SessionFields", "Sessions", "session_name"]

_Link = TypeVar("_Link", bound=Link)
_COLLECTION = "sessions/"


class SessionFields(TypedDict, total=False):
    """Fields of `Session` that its owner may set, where each is described."""

    display_name: str
    model: str
    system_instruction: ContentLike
    labels: Mapping[str, str]
    ttl: Duration | timedelta
    overflow: SessionOverflow.ValueType | str
    concurrency: SessionConcurrency.ValueType | str


class Sessions(Surface[_Link]):
    """The caller's sessions."""

    @operation
    def create(
        self,
        session_id: str = "",
        *,
        history: Iterable[ContentLike] = (),
        request_id: str = "",
        timeout: Timeout = DEFAULT,
        **fields: Unpack[SessionFields],
    ) -> Unary[Session]:
        """Make a session and return it.

        Args:
            session_id: its id; default: made by the server.
            history: turns to begin with, roles alternating, the user's first.
            request_id: the same request with it gives the same session for 24 hours; default: a
                random one, so that this client may retry the call.
            timeout: seconds for the call; None for no limit.
            fields: further fields of `Session`: model, system_instruction, labels, ttl ...

        Raises:
            ConflictError: when there is one of that id already.
        """
        values: dict[str, Any] = dict(fields)
        if "system_instruction" in values:
            values["system_instruction"] = to_content(values["system_instruction"])
        request = CreateSessionRequest(
            session_id=session_id,
            session=Session(**values),
            history=[turn for said in history for turn in to_contents(said)],
            request_id=request_id or new_request_id(),
        )
        method = self._link.stubs.sessions.CreateSession
        return Unary(method, request, lambda answer: answer.session, timeout)

    @operation
    def get(self, name: str, *, timeout: Timeout = DEFAULT) -> Unary[Session]:
        """Return a session, without its turns, by its name or id.

        Raises:
            NotFoundError: when the caller has none of that name.
        """
        request = GetSessionRequest(name=session_name(name))
        method = self._link.stubs.sessions.GetSession
        return Unary(method, request, lambda answer: answer.session, timeout)

    @operation
    def turns(self, name: str, *, timeout: Timeout = DEFAULT) -> Pages[SessionTurn]:
        """List a session's turns, oldest first; the next page is asked for when it is needed."""
        request = GetSessionRequest(name=session_name(name), include_turns=True)
        method = self._link.stubs.sessions.GetSession
        return Pages(method, request, lambda page: page.turns, timeout)

    @operation
    def list(
        self, *, labels: Mapping[str, str] | None = None, timeout: Timeout = DEFAULT
    ) -> Pages[Session]:
        """List sessions, latest used first; only those with all of `labels`, where given."""
        request = ListSessionsRequest(labels=labels or {})
        method = self._link.stubs.sessions.ListSessions
        return Pages(method, request, lambda page: page.sessions, timeout)

    @operation
    def delete(
        self,
        name: str,
        *,
        etag: str = "",
        allow_missing: bool = False,
        timeout: Timeout = DEFAULT,
    ) -> Unary[None]:
        """Delete a session with all its turns, for good.

        Args:
            name: its name or id; a retry that does not find it any more counts as its deletion.
            etag: deletes only this state of it; default: any.
            allow_missing: whether one that does not exist counts as deleted.
            timeout: seconds for the call; None for no limit.

        Raises:
            NotFoundError: when the caller has none of that name.
            ConflictError: when it is not in the state that `etag` names.
        """
        request = DeleteSessionRequest(
            name=session_name(name), etag=etag, allow_missing=allow_missing
        )
        method = self._link.stubs.sessions.DeleteSession
        return Unary(method, request, _nothing, timeout)


class Conversation(Surface[_Link]):
    """One session: what is said here is said in it."""

    def __init__(self, link: _Link, name: str) -> None:
        """Say everything in the session of this name or id."""
        super().__init__(link)
        self.name = session_name(name)

    @operation
    def execute(
        self,
        content: ContentLike | None = None,
        *,
        timeout: Timeout = DEFAULT,
        **fields: Unpack[ExecuteFields],
    ) -> Run:
        """Start an execution of one new turn, as `Client.execute` does."""
        fields["session"] = self.name
        built = build(ExecuteRequest, content, None, fields)
        return Run(self._link.stubs.execute.Execute, built, timeout)

    @operation
    def process(
        self,
        content: ContentLike | None = None,
        *,
        timeout: Timeout = DEFAULT,
        **fields: Unpack[ProcessFields],
    ) -> Unary[Answer]:
        """Say one new turn and return the whole answer, as `Client.process` does."""
        fields["session"] = self.name
        built = build(ProcessRequest, content, None, fields)
        return Unary(self._link.stubs.execute.Process, built, Answer, timeout)


def session_name(name: str) -> str:
    """Return `sessions/{id}` for an id, and a full name as it is."""
    return name if name.startswith(_COLLECTION) else f"{_COLLECTION}{name}"


def _nothing(_answer: object) -> None:
    return None
