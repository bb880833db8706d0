"""The configuration as the contract has it, and back.

`BackendConfig` mirrors the tree name by name, so a path of one is a path of the other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from google.protobuf.struct_pb2 import Struct

from gemini.backend.v1 import config_service_pb2 as pb
from gemini_backend import masking
from gemini_backend.config import MASK, RESET, OriginKind, Secret
from gemini_backend.config.reference.catalogue import expand, nearest, sections, settings
from gemini_backend.config.sections.auth import CertificateOptions
from gemini_backend.config.sections.extension import ChaosRuleOptions, InterceptorOptions
from gemini_backend.config.sections.flow import QuotaLimitOptions
from gemini_backend.errors import InvalidRequest, Violation

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from gemini_backend.config import Given

_ALL = "*"
_ORIGINS = {
    OriginKind.DEFAULT: pb.CONFIG_ORIGIN_DEFAULT,
    OriginKind.FILE: pb.CONFIG_ORIGIN_FILE,
    OriginKind.ENVIRONMENT: pb.CONFIG_ORIGIN_ENVIRONMENT,
    OriginKind.COMMAND_LINE: pb.CONFIG_ORIGIN_COMMAND_LINE,
    OriginKind.UPDATE: pb.CONFIG_ORIGIN_UPDATE,
}


def message_of(given: Mapping[str, Given]) -> pb.BackendConfig:
    """Return all values as a message, every field set, secrets masked."""
    message = pb.BackendConfig()
    for path, one in given.items():
        value = one.value
        section, _, name = path.rpartition(".")
        holder = _holder(message, section)
        if isinstance(value, tuple):
            getattr(holder, name).extend(_item(item) for item in value)
        else:
            setattr(holder, name, _shown(value))
    return message


def values_of(given: Mapping[str, Given]) -> list[pb.ConfigValueInfo]:
    """Return where each value comes from and what may be done with it, ordered by path."""
    return [
        pb.ConfigValueInfo(
            path=path,
            origin=_ORIGINS[given[path].origin.kind],
            origin_detail=given[path].origin.detail,
            live=setting.live,
            secret=setting.secret,
        )
        for path, setting in sorted(settings().items())
    ]


def patch_of(
    message: pb.BackendConfig, paths: Iterable[str], reset_paths: Iterable[str] = ()
) -> dict[str, object]:
    """Return the values that the paths of a mask name, by the path of each setting.

    Args:
        message: The values.
        paths: Settings that get their value from the message.
        reset_paths: Settings that are reset.

    Raises:
        InvalidRequest: a path names nothing, or is to be set and reset.
    """
    violations: list[Violation] = []
    named = _leaves("update_mask", paths, violations)
    reset = _leaves("reset_paths", reset_paths, violations)
    for path in (one for one in reset if one in named):
        words = f"{path} is to be changed and reset; name it in one of both"
        violations.append(Violation("reset_paths", words, "config.path"))
    if violations:
        msg = "; ".join(violation.description for violation in violations)
        raise InvalidRequest(msg, violations=violations)
    return {path: _value(message, path) for path in named} | dict.fromkeys(reset, RESET)


def _leaves(field: str, paths: Iterable[str], violations: list[Violation]) -> dict[str, None]:
    """Return the settings that paths stand for, in order."""
    leaves: dict[str, None] = {}
    for path in paths:
        named = tuple(settings()) if path == _ALL else expand(path)
        if not named:
            hint = nearest(path, [*settings(), *sections()])
            words = f"{path[:200]!r} is not a setting{hint}"
            violations.append(Violation(field, words, "config.path"))
        leaves |= dict.fromkeys(named)
    return leaves


def _holder(message: Any, section: str) -> Any:
    for name in filter(None, section.split(".")):
        message = getattr(message, name)
        message.SetInParent()
    return message


def _shown(value: object) -> object:
    if isinstance(value, Secret):
        return MASK if value else ""
    return value


def _item(value: object) -> Any:
    match value:
        case Secret():
            return MASK
        case str():
            return value
        case CertificateOptions():
            return pb.CertificatePrincipal(**msgspec.structs.asdict(value))
        case QuotaLimitOptions():
            return pb.QuotaLimit(**msgspec.structs.asdict(value))
        case ChaosRuleOptions():
            return pb.ChaosRule(
                fault=value.fault,
                probability=value.probability,
                model=value.model,
                latency_seconds=value.latency_seconds,
                after_events=value.after_events,
            )
        case InterceptorOptions():
            options = Struct()
            options.update(masking.value(value.options))
            place = {"before": value.before} if value.before else {"after": value.after}
            return pb.InterceptorConfig(name=value.name, options=options, **place)
        case _:
            msg = f"no message for {type(value).__name__}"
            raise TypeError(msg)


def _value(message: Any, path: str) -> object:
    """Return the raw value of one setting, RESET where the message does not set it."""
    *names, last = path.split(".")
    for name in names:
        message = getattr(message, name)
    value = getattr(message, last)
    if settings()[path].items is not None:
        return [_raw(item) for item in value]
    return value if message.HasField(last) else RESET


def _raw(item: Any) -> object:
    if isinstance(item, pb.CertificatePrincipal | pb.ChaosRule | pb.QuotaLimit):
        return {field.name: _plain(value) for field, value in item.ListFields()}
    if isinstance(item, pb.InterceptorConfig):
        place = item.WhichOneof("position")
        raw = {"name": item.name, "options": dict(item.options)}
        return raw | ({place: getattr(item, place)} if place else {})
    return item


def _plain(value: Any) -> object:
    return value if isinstance(value, str | int | float | bool) else list(value)
