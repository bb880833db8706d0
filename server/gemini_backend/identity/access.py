"""The role that each RPC and each HTTP path requires: one table.

A call passes if its principal has one of the roles. `tests/identity/test_access.py` fails for an
RPC or a path that is not in the table.
"""

from __future__ import annotations

from typing import Final

from gemini_backend.principal import ALL_ROLES, Role

CALLER: Final = frozenset({Role.CALLER})
VIEWER: Final = frozenset({Role.VIEWER})
READER: Final = frozenset({Role.CALLER, Role.VIEWER})
OPERATOR: Final = frozenset({Role.OPERATOR})
ADMIN: Final = frozenset({Role.ADMIN})
ANY: Final = ALL_ROLES
"""Whoever is authenticated."""

# By RPC where it is named, otherwise by service.
_SERVICES: Final = {
    "ExecuteService": CALLER,
    "SessionService": CALLER,
    "FileService": CALLER,
    "BatchService": CALLER,
    "ModelService": READER,
    "MetricsService": VIEWER,
    "HealthService": READER,
    "HealthService/GetBackendStatus": VIEWER,
    "ConfigService/GetConfig": VIEWER,
    "ConfigService/WatchConfig": VIEWER,
    "ConfigService/ListConfigRevisions": VIEWER,
    "ConfigService/UpdateConfig": OPERATOR,
    "ConfigService/RollbackConfig": OPERATOR,
    "KeyService": ADMIN,
    "KeyService/WhoAmI": ANY,
    "UpstreamKeyService": ADMIN,
    "AuditService": ADMIN,
}
_OURS = "/gemini.backend.v1."

# Services of others, by full name; what `auth.open` names needs no authentication.
_OTHERS: Final = {
    "grpc.health.v1.Health": ANY,
    "grpc.reflection.v1.ServerReflection": ANY,
    "grpc.reflection.v1alpha.ServerReflection": ANY,
    "grpc.channelz.v1.Channelz": OPERATOR,
}
OPENED_BY: Final = {
    "grpc.health.v1.Health": "health",
    "grpc.reflection.v1.ServerReflection": "reflection",
    "grpc.reflection.v1alpha.ServerReflection": "reflection",
    "/": "health",
    "/healthz": "health",
    "/readyz": "health",
    "/metrics": "metrics",
}
"""What `auth.open` calls a service or a path that may be open."""

PATHS: Final = {"/": ANY, "/healthz": ANY, "/readyz": ANY, "/metrics": VIEWER}
"""HTTP paths."""


def roles_for(method: str) -> frozenset[Role] | None:
    """Return the roles of which one is sufficient for an RPC, by its path; None without a row."""
    if method.startswith(_OURS):
        name = method.removeprefix(_OURS)
        return _SERVICES.get(name) or _SERVICES.get(name.partition("/")[0])
    return _OTHERS.get(method.removeprefix("/").partition("/")[0])


def opened_by(name: str) -> str | None:
    """Return the word of `auth.open` that opens an RPC or a path; None where none does."""
    return OPENED_BY.get(name) or OPENED_BY.get(name.removeprefix("/").partition("/")[0])


def is_administrative(method: str) -> bool:
    """Say whether an RPC acts on the server, so that the audit log has it."""
    return roles_for(method) in (OPERATOR, ADMIN)
