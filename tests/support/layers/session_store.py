"""A store of sessions in plain dicts: the model that the real one is held against."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gemini_backend.errors import AlreadyExists, Conflict, SessionFull
from gemini_backend.stores.sessions import (
    REQUEST_ID_SECONDS,
    Loaded,
    NewTurn,
    Receipt,
    SessionKey,
    SessionRow,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gemini_backend.principal import Owner
    from gemini_backend.stores.sessions import Cursor, NewSession


class Entry:
    """One session with its turns."""

    def __init__(self, new: NewSession) -> None:
        self.kept = new.kept
        self.turns = list(new.turns)
        self.labels = dict(new.labels)
        self.request_id = new.request_id
        self.digest = new.digest
        self.receipts: dict[str, tuple[int, Receipt]] = {}


class DictSessions:
    """A `SessionStore` that does what the protocol says, and nothing cleverly."""

    def __init__(self) -> None:
        self.entries: dict[SessionKey, Entry] = {}
        self.visits: list[str] = []

    def _live(self, now: float) -> dict[SessionKey, Entry]:
        return {
            key: entry
            for key, entry in self.entries.items()
            if entry.kept.expires is None or entry.kept.expires > now
        }

    async def create(self, owner: Owner, new: NewSession, most: int) -> SessionRow:
        self.visits.append("create")
        now, live = new.kept.created, self._live(new.kept.created)
        same = [
            entry
            for key, entry in live.items()
            if new.request_id
            and (key.owner, entry.request_id) == (owner, new.request_id)
            and entry.kept.created > now - REQUEST_ID_SECONDS
        ]
        if same:
            latest = max(same, key=lambda entry: entry.kept.created)
            if latest.digest != new.digest:
                raise Conflict("another request")
            return latest.kept
        key = SessionKey(owner, new.kept.session)
        if key in live:
            raise AlreadyExists("there is one")
        if sum(other.owner.tenant == owner.tenant for other in live) >= most:
            raise SessionFull("full")
        self.entries[key] = Entry(new)
        return new.kept

    async def get(self, key: SessionKey, now: float) -> SessionRow | None:
        self.visits.append("get")
        entry = self._live(now).get(key)
        return entry and entry.kept

    async def load(
        self, key: SessionKey, now: float, request_id: str = "", *, to_write: bool = False
    ) -> Loaded | None:
        self.visits.append("load")
        entry = self._live(now).get(key)
        if entry is None:
            return None
        if request_id in entry.receipts:
            place, receipt = entry.receipts[request_id]
            return Loaded(entry.kept, (), NewTurn(entry.turns[place], receipt))
        return Loaded(entry.kept, entry.turns[entry.kept.summarized :])

    async def turns(self, kept: SessionRow, after: int, most: int) -> list[bytes]:
        self.visits.append("turns")
        held = [entry.turns for entry in self.entries.values() if entry.kept.uid == kept.uid]
        return held[0][after : after + most] if held else []

    async def put(self, before: SessionRow, after: SessionRow, turn: NewTurn | None) -> bool:
        self.visits.append("put")
        for entry in self.entries.values():
            if (entry.kept.uid, entry.kept.version) == (before.uid, before.version):
                entry.kept = after
                if turn is not None:
                    if turn.receipt is not None:
                        place = (len(entry.turns), turn.receipt)
                        assert entry.receipts.setdefault(turn.receipt.request_id, place) is place
                    entry.turns.append(turn.data)
                    assert after.turns == len(entry.turns)
                return True
        return False

    async def page(
        self, owner: Owner, labels: Mapping[str, str], after: Cursor | None, most: int, now: float
    ) -> list[SessionRow]:
        self.visits.append("page")
        own = [
            entry.kept
            for key, entry in self._live(now).items()
            if key.owner == owner and labels.items() <= entry.labels.items()
        ]
        own.sort(key=lambda kept: (-kept.used, kept.session))
        if after is not None:
            own = [k for k in own if (-k.used, k.session) > (-after.used, after.session)]
        return own[:most]

    async def delete(self, key: SessionKey, etag: str, now: float) -> str:
        self.visits.append("delete")
        entry = self._live(now).get(key)
        if entry is None:
            return ""
        if etag in {"", entry.kept.etag}:
            del self.entries[key]
        return entry.kept.etag

    async def sweep(self, now: float, most: int) -> int:
        self.visits.append("sweep")
        gone = [key for key in self.entries if key not in self._live(now)][:most]
        for key in gone:
            del self.entries[key]
        return len(gone)

    async def count(self) -> int:
        return len(self.entries)
