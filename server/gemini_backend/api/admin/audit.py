"""AuditService: the audit log, listed and verified."""

from __future__ import annotations

import asyncio
import re
import threading
import time
from typing import TYPE_CHECKING

from gemini.backend.v1 import audit_service_pb2 as pb
from gemini_backend.api.messages import last_seen, token_after
from gemini_backend.audit.failures import unavailable
from gemini_backend.audit.files import Page, Position, Verdict, read_page, verify
from gemini_backend.errors import InvalidRequest, Violation

if TYPE_CHECKING:
    from collections.abc import Callable

    from gemini_backend.audit.entry import Entry
    from gemini_backend.audit.files import Place
    from gemini_backend.call import Call

_DEFAULT_SIZE = 100
_POSITION = re.compile(r"(\d{1,9})\.(\d{1,15})")
# Others run after so many lines, while a long log is verified.
_BREATH_SECONDS = 0.001


class AuditService:
    """Answers from the files of the log, in a thread; also where the log is switched off."""

    def __init__(self, place: Place, key: Callable[[], bytes]) -> None:
        """Read what is at `place`; `key` gives the key of the log, and blocks."""
        self._place = place
        self._key = key
        self._one_at_a_time = asyncio.Lock()

    async def ListAuditEntries(
        self, _call: Call, request: pb.ListAuditEntriesRequest
    ) -> pb.ListAuditEntriesResponse:
        """Return a page of entries, the latest first.

        Raises:
            InvalidRequest: the page token was not issued by this list.
            StoreUnavailable: the log cannot be read.
        """
        before, size = _position(last_seen(request)), request.page_size or _DEFAULT_SIZE
        action, tenant = request.action, request.tenant

        def wanted(entry: Entry) -> bool:
            return action in entry.action and tenant in ("", entry.tenant)

        try:
            page = await asyncio.to_thread(read_page, self._place, before, size, wanted)
        except ValueError:
            raise _unknown_token() from None
        except OSError as error:
            raise unavailable(error) from error
        return _response(page, request)

    async def VerifyAuditLog(
        self, _call: Call, _request: pb.VerifyAuditLogRequest
    ) -> pb.VerifyAuditLogResponse:
        """Verify the whole log; one verification at a time, others wait.

        Raises:
            StoreUnavailable: the log, or its key, cannot be read.
        """
        async with self._one_at_a_time:
            stopped = threading.Event()
            try:
                found = await asyncio.to_thread(self._verify, stopped)
            except OSError as error:
                raise unavailable(error) from error
            finally:
                stopped.set()
        return pb.VerifyAuditLogResponse(
            intact=found.intact,
            entry_count=found.entries,
            expected_count=found.expected,
            defects=found.defects,
        )

    def _verify(self, stopped: threading.Event) -> Verdict:
        def pause() -> None:
            if stopped.is_set():
                raise InterruptedError
            time.sleep(_BREATH_SECONDS)

        return verify(self._place, self._key, pause)


def message_of(entry: Entry) -> pb.AuditEntry:
    """Return an entry as the contract has it."""
    message = pb.AuditEntry(
        sequence=entry.sequence,
        tenant=entry.tenant,
        principal=entry.principal,
        peer=entry.peer,
        action=entry.action,
        target=entry.target,
        code=entry.code,
        reason=entry.reason,
        details=entry.details,
    )
    message.time.FromDatetime(entry.time)
    return message


def _response(page: Page, request: pb.ListAuditEntriesRequest) -> pb.ListAuditEntriesResponse:
    at = page.next
    token = "" if at is None else token_after(f"{at.file}.{at.offset}", request)
    return pb.ListAuditEntriesResponse(entries=map(message_of, page.entries), next_page_token=token)


def _position(text: str | None) -> Position | None:
    """Return the position that a page token holds; None for the first page.

    Raises:
        InvalidRequest: it holds anything else.
    """
    if text is None:
        return None
    match = _POSITION.fullmatch(text)
    if match is None:
        raise _unknown_token()
    return Position(int(match[1]), int(match[2]))


def _unknown_token() -> InvalidRequest:
    msg = "page_token was not issued by this list; leave it empty to start again"
    return InvalidRequest(msg, violations=[Violation("page_token", msg, "page.token")])
