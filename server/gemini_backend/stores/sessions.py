"""What the layers ask of a store of conversations."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeVar

from gemini_backend.sizes import MIB

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from gemini_backend.principal import Owner


T = TypeVar("T")

# A repeated `request_id` gives the session that the first one made, for so long.
REQUEST_ID_SECONDS = 86_400.0
# A page ends once it has so many bytes: gRPC clients take 4 MiB unless they are told otherwise.
PAGE_BYTES = 2 * MIB


class SessionKey(NamedTuple):
    """One session of one owner; `session` is its id, without `sessions/`."""

    owner: Owner
    session: str


@dataclass(frozen=True, slots=True)
class SessionRow:
    """One session as it stands, without its turns. Times are seconds since the epoch.

    Attributes:
        session: Its id.
        uid: Tells it apart from an earlier one of the same id.
        version: Changes with each change.
        head: Serialised `Session`: what its owner set, summary, usage and cost.
        created: When it was made.
        used: When its latest turn ended, or else when it was made.
        expires: When it ends; None for never.
        turns: How many it holds.
        bytes: What its turns hold together.
        tokens: What its turns come to, as far as it is known; never less.
        summarized: How many turns, from the first one on, the summary stands for.
    """

    session: str
    uid: int
    version: int
    head: bytes
    created: float
    used: float
    expires: float | None
    turns: int = 0
    bytes: int = 0
    tokens: int = 0
    summarized: int = 0

    @property
    def etag(self) -> str:
        """What changes with each change."""
        return f"{self.uid:x}-{self.version:x}"


class NewSession(NamedTuple):
    """A session to be made: how it begins, its turns as serialised `SessionTurn`s, its labels.

    `digest` is that of the request that makes it: a repeated `request_id` has to have the same.
    `may_replace` says whether an expired session of its id may be deleted for it.
    """

    kept: SessionRow
    turns: Sequence[bytes] = ()
    labels: Mapping[str, str] = {}
    request_id: str = ""
    digest: bytes = b""
    may_replace: bool = True


class Receipt(NamedTuple):
    """By what a repeated request is known, and given the same answer.

    Attributes:
        request_id: The caller's id of the request.
        digest: That of what was asked.
        answer: What the turn has no place for: a serialised `ProcessResponse` without candidates.
    """

    request_id: str
    digest: bytes
    answer: bytes


class NewTurn(NamedTuple):
    """A turn to be kept, as a serialised `SessionTurn`; with a receipt it can be repeated."""

    data: bytes
    receipt: Receipt | None = None


class Loaded(NamedTuple):
    """A session, and its turns that the summary does not stand for.

    Where the request that it was loaded for was answered before, `answered` is that turn, and
    `turns` is empty.
    """

    kept: SessionRow
    turns: Sequence[bytes]
    answered: NewTurn | None = None


class Cursor(NamedTuple):
    """The last session of a page: when it was used, and its id."""

    used: float
    session: str


class SessionStore(Protocol):
    """Keeps sessions; what is past its `expires` at `now` is not there.

    Each method is one visit to the store. Every one raises `StoreUnavailable` when the store
    cannot be used, with what is to be mended.
    """

    async def create(self, owner: Owner, new: NewSession, most: int) -> SessionRow:
        """Make a session, or return the one that the same request made before.

        Raises:
            AlreadyExists: the owner has one of that id.
            Conflict: another request with the same `request_id` made one before.
            SessionFull: the owner's tenant has `most` sessions.
        """
        ...

    async def get(self, key: SessionKey, now: float) -> SessionRow | None:
        """Return a session without its turns; None where there is none."""
        ...

    async def load(
        self, key: SessionKey, now: float, request_id: str = "", *, to_write: bool = False
    ) -> Loaded | None:
        """Return a session with its turns, or with the one that a request made before.

        Args:
            key: Which session.
            now: The time.
            request_id: The request that it is loaded for; empty for one without an id.
            to_write: Whether a turn is to follow: the store is tried, so that one that cannot be
                written fails before the model is paid.
        """
        ...

    async def turns(self, kept: SessionRow, after: int, most: int) -> list[bytes]:
        """Return the turns after number `after`, in order.

        At most `most` of them, and no more once they have `PAGE_BYTES` together.
        """
        ...

    async def put(self, before: SessionRow, after: SessionRow, turn: NewTurn | None) -> bool:
        """Put `after` in place of `before`, and add a turn, numbered `after.turns`.

        Returns:
            False, with nothing changed, when the session is not any more what `before` says.
        """
        ...

    async def page(
        self, owner: Owner, labels: Mapping[str, str], after: Cursor | None, most: int, now: float
    ) -> list[SessionRow]:
        """Return sessions that have all of these labels, latest used first.

        At most `most` of them, and no more once their heads have `PAGE_BYTES` together.
        """
        ...

    async def delete(self, key: SessionKey, etag: str, now: float) -> str:
        """Delete a session with its turns for good, if it is in that state; any, where it is empty.

        Returns:
            Its etag before, or empty when there was none. It is deleted where that is the same as
            `etag`, or `etag` is empty.
        """
        ...

    async def sweep(self, now: float, most: int) -> int:
        """Delete sessions that have expired, at most so many; return how many there were."""
        ...

    async def count(self) -> int:
        """Return how many sessions there are, of all owners."""
        ...


def marks(labels: Mapping[str, str]) -> list[str]:
    """Return a text for each label; one holds another nowhere but where it is the same."""
    return [f"\x1f{key}={json.dumps(value)}\x1f" for key, value in sorted(labels.items())]


def page_of(rows: Iterable[T], size: Callable[[T], int]) -> list[T]:
    """Return rows up to the one with which they have `PAGE_BYTES`; that one too."""
    page: list[T] = []
    total = 0
    for row in rows:
        page.append(row)
        total += size(row)
        if total >= PAGE_BYTES:
            break
    return page
