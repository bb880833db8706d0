"""The table of roles: a new RPC or path fails here until it has a row."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from google.protobuf.descriptor_pb2 import MethodOptions

from gemini_backend.identity.access import (
    ADMIN,
    ANY,
    OPERATOR,
    PATHS,
    is_administrative,
    opened_by,
    roles_for,
)
from gemini_backend.principal import ALL_ROLES, Role, granted
from gemini_backend.rpc.contract import SERVICES
from gemini_backend.web.site import site_of
from tests.support.layers.service_parts import board_of

if TYPE_CHECKING:
    from tests.support.clock import FakeClock

SECURITY = Path(__file__).parents[2] / "docs" / "security.md"
RPCS = [
    (f"/{service.full_name}/{method.name}", method)
    for service in SERVICES
    for method in service.methods
]


@pytest.mark.parametrize("method", [path for path, _ in RPCS])
def test_every_rpc_has_a_required_role(method: str) -> None:
    """A row by its name or by its service, of roles that there are; an admin has one of them."""
    required = roles_for(method)
    assert required is not None
    assert required
    assert required <= ALL_ROLES
    assert not granted(Role.ADMIN).isdisjoint(required)


def test_every_page_has_a_required_role(clock: FakeClock) -> None:
    """The routes of the site are the rows of the table."""
    board = board_of(clock)
    routes = {
        str(resource.canonical)
        for resource in site_of(board.metrics, board.reporter).router.resources()
    }
    assert routes == set(PATHS)


def test_what_changes_the_server_is_for_operators_and_admins() -> None:
    """No caller and no viewer reaches what changes configuration, keys or the audit log."""
    for path, method in RPCS:
        service = path.split(".")[-1].partition("/")[0]
        reads = method.GetOptions().idempotency_level == MethodOptions.NO_SIDE_EFFECTS
        if service in {"ConfigService", "KeyService", "UpstreamKeyService"} and not reads:
            assert roles_for(path) in (OPERATOR, ADMIN), path
            assert is_administrative(path), path


def test_what_spends_money_is_for_callers() -> None:
    """A viewer or an operator starts no execution, and sees nothing that belongs to a caller."""
    for path, _ in RPCS:
        if path.split(".")[-1].startswith(("ExecuteService", "SessionService", "FileService")):
            assert {Role.CALLER} == roles_for(path), path


@pytest.mark.parametrize(
    ("name", "word"),
    [
        ("/grpc.health.v1.Health/Check", "health"),
        ("/grpc.health.v1.Health/Watch", "health"),
        ("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", "reflection"),
        ("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", "reflection"),
        ("/grpc.channelz.v1.Channelz/GetServers", None),
        ("/gemini.backend.v1.HealthService/GetHealthStatus", None),
        ("/gemini.backend.v1.ExecuteService/Execute", None),
        ("/healthz", "health"),
        ("/metrics", "metrics"),
        ("/grpc.health.v1.Health", "health"),
        ("//grpc.health.v1.Health/Check", None),
        ("/x/grpc.health.v1.Health/Check", None),
    ],
)
def test_only_health_reflection_and_metrics_can_be_open(name: str, word: str | None) -> None:
    """By the setting's word; a path that only looks like one is not."""
    assert word == opened_by(name)


def test_services_of_others_have_roles() -> None:
    """Health and reflection any, where they are not open; channelz is for operators."""
    assert ANY == roles_for("/grpc.health.v1.Health/Check")
    assert OPERATOR == roles_for("/grpc.channelz.v1.Channelz/GetServers")
    assert roles_for("/somebody.Else/Do") is None


def test_the_documentation_has_every_role() -> None:
    """The table of docs/security.md: RPCs by name, or else by service; pages by path."""
    _, _, rest = SECURITY.read_text().partition("| RPCs and paths | role |\n|---|---|\n")
    documented: dict[str, set[str]] = {}
    for row in rest.partition("\n\n")[0].splitlines():
        named, said = row.strip("| ").split(" | ")
        found = set(re.findall(r"`(\w+)`", said)) or {role.value for role in ALL_ROLES}
        documented |= dict.fromkeys(re.findall(r"\w+Service(?:/\w+)?|/\w*", named), found)
    required = {path.rpartition(".")[2]: roles_for(path) for path, _ in RPCS} | PATHS
    for name, roles in required.items():
        words = documented.get(name) or documented[name.partition("/")[0]]
        assert words == {role.value for role in roles or ()}, name
