"""Which source decides a value, and which sources it hides."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gemini_backend.config.sources import Given, OriginKind

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gemini_backend.config.sources import Origin

_WEAKEST_FIRST = tuple(OriginKind)


def overrides_of(given: Mapping[str, Given]) -> dict[str, Given]:
    """Return the values that ConfigService has set."""
    return {path: one for path, one in given.items() if one.origin.kind is OriginKind.UPDATE}


def changed_between(before: Mapping[str, Given], after: Mapping[str, Given]) -> tuple[str, ...]:
    """Return the paths whose value differs, or is an override in one of them only; sorted."""
    return tuple(sorted(path for path in after if _differ(before[path], after[path])))


def hidden_by(
    before: Mapping[OriginKind, Mapping[str, Given]],
    now: Mapping[OriginKind, Mapping[str, Given]],
    in_force: Mapping[str, Given],
) -> dict[str, str]:
    """Return what a source has changed without effect, by path, with the source that decides it.

    Args:
        before: What each source said at the last reading.
        now: What each source says.
        in_force: The value of each setting, with its origin.
    """
    hidden: dict[str, str] = {}
    for kind in (OriginKind.FILE, OriginKind.ENVIRONMENT, OriginKind.COMMAND_LINE):
        said, says = before.get(kind, {}), now.get(kind, {})
        for path in sorted(said.keys() | says.keys()):
            decides = in_force[path].origin
            if _value(said, path) != _value(says, path) and _outranks(decides.kind, kind):
                hidden[path] = name_of(decides)
    return hidden


def name_of(origin: Origin) -> str:
    """Return the words for a source: "the environment variable X"."""
    match origin.kind:
        case OriginKind.DEFAULT:
            return "the built-in default"
        case OriginKind.FILE:
            return f"the file {origin.detail}"
        case OriginKind.ENVIRONMENT:
            return f"the environment variable {origin.detail}"
        case OriginKind.COMMAND_LINE:
            return f"the option of the command line for {origin.detail}"
        case OriginKind.UPDATE:
            return f"the override of {origin.detail}"


def _outranks(kind: OriginKind, other: OriginKind) -> bool:
    return _WEAKEST_FIRST.index(kind) > _WEAKEST_FIRST.index(other)


def _value(given: Mapping[str, Given], path: str) -> object:
    """Return what a source says of a setting; None where it says nothing."""
    return given[path].value if path in given else None


def _differ(one: Given, other: Given) -> bool:
    overridden = {given.origin.kind is OriginKind.UPDATE for given in (one, other)}
    return one.value != other.value or len(overridden) > 1
