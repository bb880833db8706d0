"""What a store of owned things must be able to do, for the test that all of them pass.

A new store that keeps something for a principal, or for a tenant, gets a class here: see
`tests/contract/test_owned_stores.py`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar

from msgspec.structs import replace

from gemini.backend.v1 import execute_service_pb2 as pb
from gemini_backend.clock import SystemClock
from gemini_backend.config.sections.answers import JournalOptions
from gemini_backend.errors import AlreadyExists, ServiceError
from gemini_backend.policies.cache.key import answer_key, run_key
from gemini_backend.policies.sharing.flights import Likeness
from gemini_backend.policies.sharing.journal_store import JournalStore
from gemini_backend.stores.sessions import NewSession, SessionKey, SessionRow
from gemini_backend.stores.sessions_sqlite import SCHEMA, SqliteSessions
from gemini_backend.stores.sqlite import Database
from tests.support.clock import FakeClock
from tests.support.layers.known_executions import Known
from tests.support.messages.calls import make_call

if TYPE_CHECKING:
    from gemini_backend.call import Call
    from gemini_backend.principal import Principal


class OwnedStore(ABC):
    """Keeps things by name, each for its owner.

    Attributes:
        by_tenant: Whether what is kept is shared by the principals of a tenant.
        unique: Whether nobody can use a name that somebody else has, because the server makes them.
    """

    by_tenant: ClassVar[bool] = False
    unique: ClassVar[bool] = False

    @abstractmethod
    async def add(self, who: Principal, name: str) -> None:
        """Keep something by a name that its owner has not used."""

    @abstractmethod
    async def finds(self, who: Principal, name: str) -> bool:
        """Return whether a principal finds something by a name."""

    async def names(self, _who: Principal) -> set[str] | None:
        """Return all that a principal finds; None where there is no list."""
        return None

    async def remove(self, _who: Principal, _name: str) -> bool | None:
        """Remove something; return whether it was found, None where nothing can be removed."""
        return None

    async def aclose(self) -> None:
        """Close it."""
        return


def call_of(who: Principal, name: str = "executions/e") -> Call:
    """Return a call of a principal."""
    return replace(make_call(FakeClock()), principal=who, execution=name)


class Sessions(OwnedStore):
    """Conversations."""

    def __init__(self) -> None:
        self._database = Database(None, SCHEMA, clock=SystemClock(), power=False)
        self._store = SqliteSessions(self._database)
        self._made = 0

    async def add(self, who: Principal, name: str) -> None:
        self._made += 1
        row = SessionRow(name, self._made, 1, b"", 1.0, 1.0, None, turns=0, bytes=0, tokens=0)
        await self._store.create(who.owner, NewSession(row, ()), 1000)

    async def finds(self, who: Principal, name: str) -> bool:
        key = SessionKey(who.owner, name)
        found = await self._store.get(key, 2.0), await self._store.load(key, 2.0)
        assert (found[0] is None) == (found[1] is None)
        return found[0] is not None

    async def names(self, who: Principal) -> set[str]:
        return {row.session for row in await self._store.page(who.owner, {}, None, 1000, 2.0)}

    async def remove(self, who: Principal, name: str) -> bool:
        return bool(await self._store.delete(SessionKey(who.owner, name), "", 2.0))

    async def aclose(self) -> None:
        await self._database.aclose()


class Executions(OwnedStore):
    """Executions by their names: to be looked at, listed and cancelled."""

    unique = True

    def __init__(self) -> None:
        self._known = Known(FakeClock())

    async def add(self, who: Principal, name: str) -> None:
        if name in self._known.register._underway:
            raise AlreadyExists(name)
        call = call_of(who, name)
        self._known.register.begin(call, pb.ExecuteRequest(), pb.EXECUTION_KIND_EXECUTE)

    async def finds(self, who: Principal, name: str) -> bool:
        owned = self._known.register.owns(who, name)
        try:
            self._known.register.get(who, name)
        except ServiceError:
            assert not owned
            return False
        return owned

    async def names(self, who: Principal) -> set[str]:
        return {name for name, _, _ in self._known.register.all_of(who)}


class Journals(OwnedStore):
    """Events, from which a stream is resumed."""

    unique = True

    def __init__(self) -> None:
        self._store = JournalStore(JournalOptions, FakeClock())
        self._names: set[str] = set()

    async def add(self, who: Principal, name: str) -> None:
        if name in self._names:
            raise AlreadyExists(name)
        self._names.add(name)
        self._store.open(call_of(who, name))

    async def finds(self, who: Principal, name: str) -> bool:
        try:
            self._store.find(name, who, 0)
        except ServiceError:
            return False
        return True


class ByDigest(OwnedStore):
    """What is found by the digest of a request: cached answers, those of like meaning, runs."""

    by_tenant = True

    def __init__(self) -> None:
        self._kept: set[Any] = set()

    async def add(self, who: Principal, name: str) -> None:
        self._kept.update(self._digests(who, name))

    async def finds(self, who: Principal, name: str) -> bool:
        found = self._kept.intersection(self._digests(who, name))
        assert len(found) in {0, 3}
        return bool(found)

    @staticmethod
    def _digests(who: Principal, name: str) -> list[Any]:
        call, request = call_of(who), pb.ExecuteRequest(model="models/m", prompt=name)
        likeness = Likeness(call, request)
        shared = (likeness.near, likeness.key)
        return [("answer", answer_key(call, request)), ("run", run_key(call, request)), shared]


STORES: tuple[type[OwnedStore], ...] = (Sessions, Executions, Journals, ByDigest)
