"""Every setting, read off the tree: path, type, default, range, meaning, whether it is live."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import inspect

from gemini_backend.checked_fields import expectation
from gemini_backend.config.secret import Secret
from gemini_backend.config.tree import Config

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

ENVIRONMENT_PREFIX = "GEMINI_BACKEND_"


@dataclass(frozen=True, slots=True)
class Setting:
    """One value of the tree.

    Attributes:
        path: Its place, `execution.idle_timeout_seconds`.
        type: What msgspec converts to, range included.
        shape: What msgspec knows of the type, for asking whether it is a list, a table ...
        default: What is built in.
        description: Meaning and unit.
        expects: What a value must be, in words: "a whole number from 1 to 1024".
        live: Whether a running server takes up a change.
        secret: Whether it is never shown.
    """

    path: str
    type: Any
    shape: inspect.Type
    default: object
    description: str
    expects: str
    live: bool
    secret: bool

    @property
    def variable(self) -> str:
        """Name of its environment variable."""
        return ENVIRONMENT_PREFIX + self.path.upper().replace(".", "__")

    @property
    def items(self) -> inspect.Type | None:
        """Type of its items where it is a list, else None."""
        return self.shape.item_type if isinstance(self.shape, inspect.VarTupleType) else None


@lru_cache(maxsize=1)
def settings() -> Mapping[str, Setting]:
    """Return every setting by its path, in the order of the tree."""
    return {setting.path: setting for setting in _walk(Config, "")}


def expand(path: str) -> tuple[str, ...]:
    """Return the settings that a path stands for: itself, or all of a section; empty for none."""
    if path in settings():
        return (path,)
    return tuple(known for known in settings() if known.startswith(f"{path}."))


def sections() -> frozenset[str]:
    """Return the paths of all sections, nested ones included."""
    parents = set()
    for path in settings():
        while "." in path:
            path = path.rpartition(".")[0]  # noqa: PLW2901 - climbs towards the root
            parents.add(path)
    return frozenset(parents)


def nearest(wrong: str, right: Iterable[str]) -> str:
    """Return `; did you mean X?` for the most similar of the right names, or nothing."""
    names = list(right)
    found = difflib.get_close_matches(wrong, names, n=1, cutoff=0.6)
    if not found:
        last = {name.rpartition(".")[2]: name for name in names}
        close = difflib.get_close_matches(wrong.rpartition(".")[2], last, n=1, cutoff=0.75)
        found = [last[name] for name in close]
    return f"; did you mean {found[0]}?" if found else ""


def _walk(struct: type[msgspec.Struct], prefix: str) -> Iterator[Setting]:
    """Yield the settings below a struct; a struct within it is a section of its own."""
    for field in msgspec.structs.fields(struct):
        path = f"{prefix}{field.name}"
        shape = inspect.type_info(field.type)
        if isinstance(shape, inspect.StructType):
            yield from _walk(shape.cls, f"{path}.")
            continue
        if not isinstance(shape, inspect.Metadata) or not shape.extra_json_schema:
            msg = f"{path} has no description; annotate it with about()"
            raise TypeError(msg)
        item = shape.type.item_type if isinstance(shape.type, inspect.VarTupleType) else shape.type
        yield Setting(
            path=path,
            type=field.type,
            shape=shape.type,
            default=field.default,
            description=shape.extra_json_schema["description"],
            expects=expectation(shape.type),
            live=bool((shape.extra or {}).get("live")),
            secret=isinstance(item, inspect.CustomType) and item.cls is Secret,
        )
