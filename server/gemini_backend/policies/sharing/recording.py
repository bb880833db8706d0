"""What the journal sees of a stream that ends with its caller: each event, and the end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gemini_backend.policies.watch import Watch, Writing

if TYPE_CHECKING:
    from collections.abc import Callable

    from gemini.backend.v1.execute_service_pb2 import Delta
    from gemini_backend.call import SameBytes
    from gemini_backend.policies.sharing.journal_store import Record


class Recording(Watch):
    """Makes the bytes of each event, once: the record's, the wire's, and a shared run's."""

    __slots__ = ("_ended", "_keeper", "_raw", "_record", "_writing")

    def __init__(
        self,
        record: Record,
        keeper: SameBytes | None,
        ended: Callable[[Record, BaseException | None], None],
        *,
        raw: bool,
        inner: Watch | None = None,
    ) -> None:
        """Write to a record.

        Args:
            record: Where events go.
            keeper: Who keeps the same events for other calls.
            ended: Told once, of what the answer ended by.
            raw: Whether bytes are handed on in place of messages.
            inner: Who looks at events before, and may make their bytes as well.
        """
        self._record = record
        self._keeper = keeper
        self._ended = ended
        self._raw = raw
        self._writing: Writing | None = None
        if isinstance(inner, Writing):
            self._writing = inner
            inner.asked = True
        if keeper is not None:
            record.buffer.on_cut = keeper.counts_all

    def event(self, event: Any, delta: Delta | None, /) -> bytes | None:
        """Keep an event; what is complete can be had again though its caller leaves now."""
        record = self._record
        if not record.recording:
            return None
        writing = self._writing
        if writing is not None and writing.written[0] is event:
            data = writing.written[1]
        else:
            data = event.SerializeToString()
        record.buffer.keep(data)
        if self._keeper is not None:
            self._keeper.made(event, data)
        if delta is None and event.HasField("completed"):
            self._ended(record, None)
        return data if self._raw else None

    def end(self, error: BaseException | None, /) -> None:
        """Put the record away, or let it go."""
        self._ended(self._record, error)
