"""SessionService: conversations made, shown, handed out, deleted; each by its owner only."""

from __future__ import annotations

import re
import secrets
from hashlib import sha256
from typing import TYPE_CHECKING, Literal

from gemini.backend.v1 import session_service_pb2 as pb
from gemini_backend.api.messages.pagination import last_seen, token_after
from gemini_backend.api.messages.sessions import head_of, message_of, turns_of
from gemini_backend.durations import seconds_of
from gemini_backend.errors import Conflict, InvalidRequest, SessionFull, UnknownResource, Violation
from gemini_backend.sizes import MIB
from gemini_backend.stores.sessions import (
    PAGE_BYTES,
    Cursor,
    NewSession,
    SessionKey,
    SessionRow,
)
from gemini_backend.telemetry.events import SessionChanged

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from gemini_backend.call import Call
    from gemini_backend.stores.session_service import SessionContext

_TURNS_A_PAGE, _SESSIONS_A_PAGE, _MAX_PAGE = 100, 50, 1000
_UID_BITS = 62
_ID_BYTES = 13
# What page tokens hold: the number of a turn; when a session was used, and its id.
_NUMBER, _PLACE = r"\d{1,9}", r"\d{1,12}\.\d{1,12}:.+"


class SessionService:
    """Answers from the store."""

    def __init__(self, context: SessionContext) -> None:
        """Read and change what is kept there."""
        self._store = context.store
        self._options = context.options
        self._wall = context.wall
        self._bus = context.bus
        self._sure = context.sure

    async def CreateSession(
        self, call: Call, request: pb.CreateSessionRequest
    ) -> pb.CreateSessionResponse:
        """Make a session; the same `request_id` again gives the one that it made.

        Raises:
            AlreadyExists: the caller has one of that id.
            Conflict: another request with that `request_id` made one.
            InvalidRequest: the roles of the history do not alternate.
            SessionFull: the tenant has too many, or the history is too much for one.
        """
        new = self._new(request)
        most = self._options().max_sessions
        owner = call.principal.owner
        kept = await self._store.create(owner, new, most)
        if kept.uid == new.kept.uid:
            self._changed(SessionKey(owner, kept.session), "created")
        return pb.CreateSessionResponse(session=message_of(kept))

    async def GetSession(self, call: Call, request: pb.GetSessionRequest) -> pb.GetSessionResponse:
        """Return a session, and a page of its turns if asked for.

        Raises:
            UnknownResource: the caller has none of that name.
        """
        kept = await self._find(call, request.name)
        response = pb.GetSessionResponse(session=message_of(kept))
        if request.include_turns:
            size = min(request.page_size or _TURNS_A_PAGE, _MAX_PAGE)
            after = int(_cursor(last_seen(request), _NUMBER) or 0)
            for data in await self._store.turns(kept, after, size):
                response.turns.add().MergeFromString(data)
            last = after + len(response.turns)
            if response.turns and last < kept.turns:
                response.next_page_token = token_after(str(last), request)
        return response

    async def ListSessions(
        self, call: Call, request: pb.ListSessionsRequest
    ) -> pb.ListSessionsResponse:
        """Return a page of the caller's sessions, latest used first."""
        size = min(request.page_size or _SESSIONS_A_PAGE, _MAX_PAGE)
        owner = call.principal.owner
        seen = _cursor(last_seen(request), _PLACE)
        after = None
        if seen is not None:
            used, _, session = seen.partition(":")
            after = Cursor(float(used), session)
        labels = dict(request.labels)
        found = await self._store.page(owner, labels, after, size + 1, self._wall())
        full = sum(len(kept.head) for kept in found) >= PAGE_BYTES
        page = found[:size]
        token = ""
        if page and (full or len(found) > size):
            token = token_after(f"{page[-1].used!r}:{page[-1].session}", request)
        return pb.ListSessionsResponse(sessions=map(message_of, page), next_page_token=token)

    async def DeleteSession(
        self, call: Call, request: pb.DeleteSessionRequest
    ) -> pb.DeleteSessionResponse:
        """Delete a session with all its turns, for good.

        Raises:
            UnknownResource: the caller has none of that name, and it was to be there.
            Conflict: it is not in the state that was to be deleted.
        """
        key = _key(call, request.name)
        etag = await self._store.delete(key, request.etag, self._wall())
        if not etag and not request.allow_missing:
            raise _unknown(key)
        if etag and request.etag not in {"", etag}:
            raise Conflict(
                f"session {key.session!r} is not in the state {request.etag!r} any more; read it "
                "again, then delete it"
            )
        if etag:
            self._changed(key, "deleted")
        return pb.DeleteSessionResponse()

    async def ExportSession(
        self, call: Call, request: pb.ExportSessionRequest
    ) -> AsyncIterator[pb.ExportSessionResponse]:
        """Yield the session, then its turns as they are at this moment.

        Raises:
            UnknownResource: the caller has none of that name.
            Conflict: it was deleted meanwhile.
        """
        kept = await self._find(call, request.name)
        yield pb.ExportSessionResponse(session=message_of(kept))
        done = 0
        while done < kept.turns:
            page = await self._store.turns(kept, done, min(_MAX_PAGE, kept.turns - done))
            if not page:
                raise Conflict(f"session {kept.session!r} was deleted while it was exported")
            for data in page:
                yield pb.ExportSessionResponse(turn=pb.SessionTurn.FromString(data))
            done += len(page)

    def _new(self, request: pb.CreateSessionRequest) -> NewSession:
        """Return the session that is to be made.

        Raises:
            InvalidRequest: the roles of the history do not alternate.
            SessionFull: the history is too much for one session.
        """
        now, options, head = self._wall(), self._options(), head_of(request.session)
        turns = [turn.SerializeToString() for turn in turns_of(request.history, now)]
        size = sum(map(len, turns))
        bounds = ((len(turns), "turns", "max_turns"), (size / MIB, "MiB", "max_session_mb"))
        for held, unit, setting in bounds:
            most = getattr(options, setting)
            if held > most:
                raise SessionFull(
                    f"history has {held:.4g} {unit} and a session may have at most {most} "
                    f"(sessions.{setting}); omit the oldest turns"
                )
        ttl = seconds_of(head.ttl) if head.HasField("ttl") else options.ttl_seconds
        kept = SessionRow(
            session=request.session_id or secrets.token_hex(_ID_BYTES),
            uid=secrets.randbits(_UID_BITS),
            version=1,
            head=head.SerializeToString(),
            created=now,
            used=now,
            expires=now + ttl if ttl else None,
            turns=len(turns),
            bytes=size,
            tokens=size + head.system_instruction.ByteSize(),
        )
        digest = sha256(request.SerializeToString(deterministic=True)).digest()
        return NewSession(kept, turns, dict(head.labels), request.request_id, digest, self._sure())

    def _changed(self, key: SessionKey, change: Literal["created", "deleted"]) -> None:
        event = SessionChanged(key.owner.tenant, f"sessions/{key.session}", change)
        self._bus.publish(event)

    async def _find(self, call: Call, name: str) -> SessionRow:
        key = _key(call, name)
        kept = await self._store.get(key, self._wall())
        if kept is None:
            raise _unknown(key)
        return kept


def _key(call: Call, name: str) -> SessionKey:
    return SessionKey(call.principal.owner, name.removeprefix("sessions/"))


def _unknown(key: SessionKey) -> UnknownResource:
    return UnknownResource(
        f"there is no session {key.session!r}; check the name, and that it has not expired"
    )


def _cursor(text: str | None, pattern: str) -> str | None:
    """Return what a page token holds; one that holds anything else was tampered with.

    Raises:
        InvalidRequest: it was.
    """
    if text is not None and not re.fullmatch(pattern, text):
        msg = "page_token was not issued by this list; leave it empty to start again"
        raise InvalidRequest(msg, violations=[Violation("page_token", msg, "page.token")])
    return text
