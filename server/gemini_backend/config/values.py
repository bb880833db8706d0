"""From raw values, as files, variables and callers give them, to the tree, and back."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import inspect

from gemini_backend.checked_fields import kind_of
from gemini_backend.config.about import Options
from gemini_backend.config.errors import ConfigError, Problem
from gemini_backend.config.reference.catalogue import settings
from gemini_backend.config.secret import Secret
from gemini_backend.config.secret_text import cleaned, several
from gemini_backend.config.tree import Config

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from gemini_backend.config.reference.catalogue import Setting

_TRUTH = {"true": True, "1": True, "false": False, "0": False}


def convert(setting: Setting, raw: object) -> object:
    """Return a raw value as the setting's own type.

    Raises:
        ConfigError: the type or the range is wrong.
    """
    try:
        return msgspec.convert(raw, setting.type, dec_hook=_secret, str_keys=True)
    except msgspec.ValidationError as error:
        if isinstance(error.__cause__, ConfigError):
            raise error.__cause__ from None
        raise ConfigError.at(_complaint(setting, raw, str(error)), setting.path) from None


def convert_text(setting: Setting, text: str) -> object:
    """Return the text of an environment variable as the setting's own type.

    Lists of texts are separated by commas, lists of tables are JSON.

    Raises:
        ConfigError: the text does not stand for such a value.
    """
    if any("\ud800" <= one <= "\udfff" for one in text):  # bytes that are not UTF-8
        msg = f"{setting.path} has bytes that are not valid UTF-8; write it in UTF-8"
        raise ConfigError.at(msg, setting.path)
    if isinstance(setting.items, inspect.StructType):
        try:
            return convert(setting, json.loads(text))
        except json.JSONDecodeError as error:
            msg = f"{setting.path} must be {setting.expects}, as JSON: {error.msg} at {error.pos}"
            raise ConfigError.at(msg, setting.path) from None
    if setting.items is not None and setting.secret:
        return convert(setting, several(text))
    if setting.items is not None:
        return convert(setting, [part.strip() for part in text.split(",") if part.strip()])
    if isinstance(setting.shape, inspect.BoolType):
        return convert(setting, _TRUTH.get(text.strip().lower(), text))
    if isinstance(setting.shape, inspect.IntType | inspect.FloatType):
        return convert(setting, _number(text))
    return convert(setting, text)


def build(values: Mapping[str, object]) -> Config:
    """Return the tree that these values by path make; what is missing has its default.

    Raises:
        ConfigError: values that are right by themselves are at odds with each other.
    """
    problems: list[Problem] = []
    config = _struct(Config, _nested(values), problems)
    if problems or not isinstance(config, Config):
        raise ConfigError(*problems)
    return config


def rebuilt(config: Config, values: Mapping[str, object]) -> Config:
    """Return a tree with some values changed; it shares the sections that have none of them.

    Raises:
        ConfigError: values that are right by themselves are at odds with each other.
    """
    problems: list[Problem] = []
    again = _again(config, _nested(values), problems)
    if problems or not isinstance(again, Config):
        raise ConfigError(*problems)
    return again


def flatten(config: Config) -> dict[str, object]:
    """Return every value of a tree by its path."""
    return dict(_leaves(config, ""))


def _nested(values: Mapping[str, object]) -> dict[str, Any]:
    nested: dict[str, Any] = {}
    for path, value in values.items():
        *parents, name = path.split(".")
        table = nested
        for parent in parents:
            table = table.setdefault(parent, {})
        table[name] = value
    return nested


def _again(
    struct: msgspec.Struct, table: dict[str, Any], problems: list[Problem]
) -> msgspec.Struct | None:
    arguments = {name: getattr(struct, name) for name in struct.__struct_fields__}
    for name, value in table.items():
        inner = isinstance(arguments[name], Options)
        arguments[name] = _again(arguments[name], value, problems) if inner else value
    if None in arguments.values():
        return None  # what is below has a problem already
    try:
        return type(struct)(**arguments)
    except ConfigError as error:
        problems.extend(error.problems)
        return None


def _struct(cls: type[msgspec.Struct], table: dict[str, Any], problems: list[Problem]) -> object:
    arguments: dict[str, Any] = {}
    so_far = len(problems)
    for field in msgspec.structs.fields(cls):
        if field.name not in table:
            continue
        value = table[field.name]
        if isinstance(field.type, type) and issubclass(field.type, msgspec.Struct):
            value = _struct(field.type, value, problems)
        if value is not None:
            arguments[field.name] = value
    if len(problems) > so_far:  # with a default in its place, the rest would seem wrong as well
        return None
    try:
        return cls(**arguments)
    except ConfigError as error:
        problems.extend(error.problems)
        return None


def _leaves(struct: msgspec.Struct, prefix: str) -> Iterator[tuple[str, object]]:
    for name in struct.__struct_fields__:
        path, value = f"{prefix}{name}", getattr(struct, name)
        if path in settings():
            yield path, value
        else:
            yield from _leaves(value, f"{path}.")


def _secret(kind: type, raw: object) -> Secret:
    if kind is Secret and isinstance(raw, Secret):
        return raw
    if kind is Secret and isinstance(raw, str):
        return Secret(cleaned(raw))
    msg = "a secret must be a text"
    raise msgspec.ValidationError(msg)


def _number(text: str) -> object:
    try:
        return int(text)
    except ValueError:
        pass
    try:
        return float(text)
    except ValueError:
        return text


def _complaint(setting: Setting, raw: object, reason: str) -> str:
    """Say what is there, what must be, and how a list went wrong; a secret's value is not told."""
    if setting.items is not None:
        place = reason.partition(" - at ")[2].strip("`$") if " - at " in reason else ""
        detail = reason.partition(" - at ")[0].replace("`", "")
        where = f"{setting.path}{place}"
        return f"{where} is wrong ({detail}); {setting.path} must be {setting.expects}"
    shown = kind_of(raw)
    if isinstance(raw, str | int | float) and not setting.secret:
        shown = f"{str(raw)[:80]!r} ({shown})" if isinstance(raw, str) else f"{raw} ({shown})"
    return f"{setting.path} is {shown} and must be {setting.expects}; change it"
