"""Keys and principals as people read them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from gemini.backend.v1.key_service_pb2 import ApiKeyState, AuthMethod, Role
from gemini_backend_client.commands.table import table

if TYPE_CHECKING:
    from collections.abc import Iterable

    from google.protobuf.timestamp_pb2 import Timestamp

    from gemini.backend.v1.key_service_pb2 import ApiKey, Principal

_HEADINGS = ("KEY", "TENANT", "PRINCIPAL", "ROLES", "STATE", "CREATED", "EXPIRES", "LAST USE")


def keys(found: Iterable[ApiKey]) -> str:
    """Return a table, one row per key."""
    return table([_HEADINGS, *map(_row, found)])


def sentence(one: ApiKey) -> str:
    """Return which key it is, and whose."""
    return (
        f"{one.name} of principal {one.principal} of tenant {one.tenant} ({_roles(one.roles)}"
        f"{_until(one)})"
    )


def key(one: ApiKey) -> str:
    """Return everything of a key, one line per fact."""
    return _facts(
        ("key", one.name),
        ("tenant", one.tenant),
        ("principal", one.principal),
        ("roles", _roles(one.roles)),
        ("models", _models(one.allowed_models)),
        ("requests per minute", _limit(one, "requests_per_minute")),
        ("tokens per minute", _limit(one, "tokens_per_minute")),
        ("display name", _plain(one.display_name) or "-"),
        ("state", _word(ApiKeyState.Name(one.state), "API_KEY_STATE_")),
        ("created", _time(one, "create_time")),
        ("expires", _time(one, "expire_time")),
        ("last use", _time(one, "last_use_time")),
        ("rotated", _time(one, "rotate_time")),
        ("secret before expires", _time(one, "previous_expire_time")),
        ("revoked", _time(one, "revoke_time")),
    )


def principal(who: Principal) -> str:
    """Return everything of a principal, one line per fact."""
    method = _word(AuthMethod.Name(who.method), "AUTH_METHOD_")
    return _facts(
        ("tenant", who.tenant),
        ("name", who.name),
        ("roles", _roles(who.roles)),
        ("authenticated by", "nothing" if method == "unspecified" else method.replace("_", " ")),
        ("models", _models(who.allowed_models)),
        ("requests per minute", _limit(who, "requests_per_minute")),
        ("tokens per minute", _limit(who, "tokens_per_minute")),
        ("key", who.api_key or "-"),
        ("expires", _time(who, "expire_time")),
    )


def _row(one: ApiKey) -> tuple[str, ...]:
    return (
        one.name,
        one.tenant,
        one.principal,
        _roles(one.roles),
        _word(ApiKeyState.Name(one.state), "API_KEY_STATE_"),
        _time(one, "create_time"),
        _time(one, "expire_time"),
        _time(one, "last_use_time"),
    )


def _facts(*facts: tuple[str, str]) -> str:
    width = max(len(name) for name, _ in facts) + 1
    return "".join(f"{name + ':':{width}} {value}\n" for name, value in facts)


def _roles(roles: Iterable[Role.ValueType]) -> str:
    return ", ".join(_word(Role.Name(role), "ROLE_") for role in roles) or "none"


def _models(names: Iterable[str]) -> str:
    return ", ".join(map(_plain, names)) or "all"


def _limit(one: Any, field: str) -> str:
    if not one.limits.HasField(field):
        return "as configured"
    return f"{getattr(one.limits, field):,}" if getattr(one.limits, field) else "no limit"


def _time(one: Any, field: str) -> str:
    return _moment(getattr(one, field)) if one.HasField(field) else "-"


def _until(one: ApiKey) -> str:
    return f", until {_moment(one.expire_time)}" if one.HasField("expire_time") else ""


def _moment(time: Timestamp) -> str:
    """Return a moment in UTC, by hand: a key may expire later than any calendar of Python's."""
    try:
        return f"{datetime.fromtimestamp(time.seconds, UTC):%Y-%m-%d %H:%M:%SZ}"
    except (OverflowError, ValueError, OSError):
        return f"{time.seconds} s after 1970"


def _word(name: str, prefix: str) -> str:
    return name.removeprefix(prefix).lower()


def _plain(text: str) -> str:
    """Return a text that whoever made the key chose, without what a terminal would act on."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)
