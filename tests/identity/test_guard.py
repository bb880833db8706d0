"""The guard: authentication, then the role.

Covers: telemetry/events/identity.py
"""

from __future__ import annotations

import tracemalloc
from typing import TYPE_CHECKING

import pytest

from gemini_backend.errors import Forbidden, StoreUnavailable, Unauthenticated
from gemini_backend.identity.access import PATHS, roles_for
from gemini_backend.identity.authenticator import Authenticator
from gemini_backend.identity.credentials import Credentials
from gemini_backend.identity.guard import Guard
from gemini_backend.principal import UNKNOWN, Principal, Role, granted
from gemini_backend.rpc.contract import SERVICES
from gemini_backend.telemetry.events import AccessRefused, AuthenticationRefused, Bus

if TYPE_CHECKING:
    from gemini_backend.telemetry.events.event import Event

EXECUTE = "/gemini.backend.v1.ExecuteService/Execute"
UPDATE = "/gemini.backend.v1.ConfigService/UpdateConfig"
HEALTH = "/grpc.health.v1.Health/Check"
ACTIONS = [
    *(f"/{service.full_name}/{method.name}" for service in SERVICES for method in service.methods),
    *PATHS,
]


class ByRole:
    """Knows a principal of each role by the role's name."""

    def __init__(self) -> None:
        """Have one of each; while it is `away`, none can be verified."""
        self.away = False
        self.all = {
            f"gbk_{role.value}": Principal("acme", role.value, granted(role)) for role in Role
        }

    def known(self, secret: str) -> Principal | None:
        return self.all.get(secret)

    async def verify(self, secret: str) -> Principal:
        if self.away:
            raise StoreUnavailable("keys cannot be verified")
        found = self.all.get(secret)
        if found is None:
            raise Unauthenticated("nobody's key")
        return found


class Scene:
    """A guard, and what it does."""

    def __init__(self, *opened: str) -> None:
        """Open what `auth.open` would."""
        self.heard: list[Event] = []
        self.slowed: list[str] = []
        bus = Bus()
        bus.subscribe(AuthenticationRefused, self.heard.append)
        bus.subscribe(AccessRefused, self.heard.append)
        self.keys = ByRole()
        self.guard = Guard(Authenticator(api_keys=self.keys), opened, self, bus)

    async def failed(self, peer: str) -> None:
        """Take note of who is slowed down."""
        self.slowed.append(peer)


def shown(word: str) -> Credentials:
    """Return the key of a role, as a caller shows it."""
    return Credentials(bearer=f"gbk_{word}", peer="10.0.0.1")


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize("role", list(Role))
async def test_who_has_a_sufficient_role_passes_and_nobody_else(action: str, role: Role) -> None:
    """Each RPC and page with each role, by the table; in both ways the same."""
    required = PATHS.get(action) or roles_for(action) or frozenset()
    scene = Scene()
    if granted(role) & required:
        assert role.value == (await scene.guard.admit(action, shown(role.value))).name
        assert scene.guard.known(action, shown(role.value)) is not None
        assert [] == scene.heard
        return
    assert scene.guard.known(action, shown(role.value)) is None
    with pytest.raises(Forbidden, match="requires the role"):
        await scene.guard.admit(action, shown(role.value))
    assert [(AccessRefused, "acme", role.value)] == [
        (type(event), event.tenant, event.principal)
        for event in scene.heard
        if isinstance(event, AccessRefused)
    ]
    assert [] == scene.slowed


@pytest.mark.parametrize("action", [*ACTIONS, HEALTH, "/somebody.Else/Do"])
@pytest.mark.parametrize("credentials", [Credentials(peer="10.0.0.1"), shown("nobody")])
async def test_who_is_nobody_passes_nowhere(action: str, credentials: Credentials) -> None:
    """Also to what does not exist, so that nothing is told of what does; and is slowed down."""
    scene = Scene()
    with pytest.raises(Unauthenticated):
        await scene.guard.admit(action, credentials)
    assert ["10.0.0.1"] == scene.slowed
    assert [AuthenticationRefused] == [type(event) for event in scene.heard]


@pytest.mark.parametrize(
    ("action", "word"), [(HEALTH, "health"), ("/healthz", "health"), ("/metrics", "metrics")]
)
async def test_what_is_open_needs_no_credential(action: str, word: str) -> None:
    """Nobody passes as somebody without a role; a wrong key is as good as none."""
    scene = Scene(word)
    assert UNKNOWN == await scene.guard.admit(action, Credentials())
    assert UNKNOWN == await scene.guard.admit(action, shown("nobody"))
    assert "viewer" == (await scene.guard.admit(action, shown("viewer"))).name
    assert [] == scene.heard
    scene.keys.away = True
    assert UNKNOWN == await scene.guard.admit(action, shown("viewer"))
    with pytest.raises(StoreUnavailable):
        await scene.guard.admit(EXECUTE, shown("viewer"))
    with pytest.raises(Unauthenticated):
        await scene.guard.admit(EXECUTE, Credentials())


async def test_an_rpc_that_does_not_exist_is_refused_further_in() -> None:
    """Whoever is authenticated is told so there."""
    assert "caller" == (await Scene().guard.admit("/somebody.Else/Do", shown("caller"))).name


async def test_the_refusal_names_the_role_and_not_the_key() -> None:
    """What is missing, who is asking, and what to do."""
    with pytest.raises(Forbidden) as refused:
        await Scene().guard.admit(UPDATE, shown("viewer"))
    assert (
        f"{UPDATE} requires the role operator, and acme/viewer has viewer; use a credential with "
        "that role, or ask an admin for it"
    ) == str(refused.value)


async def test_invented_actions_take_no_memory() -> None:
    """Whatever is remembered of them is bounded, for callers with a good key as well."""
    scene = Scene()
    for number in range(1000):
        scene.guard.known(f"/gemini.backend.v1.KeyService/{number}", shown("admin"))  # warm up
    tracemalloc.start()
    for number in range(10_000):
        action = f"/gemini.backend.v1.KeyService/Invented{number}"
        assert scene.guard.known(action, shown("admin")) is not None
    grown, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert grown < 100_000
