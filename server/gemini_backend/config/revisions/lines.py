"""A revision as one line of the file: a checksum, and JSON.

A line has all values that are no built-in defaults, with their origins. A secret is never in one:
nor the value of a setting that is a secret, nor any other that holds a secret of this process.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Any

import msgspec

from gemini_backend import masking
from gemini_backend.config.errors import ConfigError, Problem
from gemini_backend.config.reference import settings
from gemini_backend.config.revisions.revision import Change, Revision
from gemini_backend.config.revisions.unkept import keepable, secrets_of
from gemini_backend.config.sources import Given, Origin, OriginKind
from gemini_backend.config.values import convert
from gemini_backend.sizes import MIB

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_SUM = 8
_OF_SOURCES = {kind.value for kind in OriginKind} - {OriginKind.UPDATE.value}


class _Value(msgspec.Struct, frozen=True):
    value: Any
    origin: str
    detail: str = ""


class _Line(msgspec.Struct, frozen=True, kw_only=True):
    revision: int
    etag: str
    time: float
    author: str
    comment: str = ""
    changed: tuple[str, ...] = ()
    rollback_of: int = 0
    values: dict[str, _Value]
    not_kept: tuple[str, ...] = ()


class DamagedLineError(ValueError):
    """A line is not as it was written; as text, what is wrong with it."""


def check_size(given: Mapping[str, Given]) -> None:
    """Refuse values that take more than a file of the configuration may have, 1 MiB.

    Raises:
        ConfigError: they do.
    """
    told = {path: one.value for path, one in given.items() if _is_told(path, one)}
    if len(msgspec.json.encode(told, enc_hook=repr)) > MIB:
        path = max(told, key=lambda one: len(msgspec.json.encode(told[one], enc_hook=repr)))
        msg = f"the configuration takes more than 1 MiB, most of it for {path}; shorten that"
        raise ConfigError.at(msg, path)


def line_of(revision: Revision) -> bytes:
    """Return a revision as a line, with its end."""
    told = {path: one for path, one in revision.given.items() if _is_told(path, one)}
    secrets = secrets_of(revision.given)
    secret = tuple(path for path, one in told.items() if not keepable(one.value, secrets))
    text = msgspec.json.encode(
        _Line(
            revision=revision.number,
            etag=revision.etag,
            time=revision.time,
            author=revision.change.author,
            comment=masking.text(revision.change.comment),
            changed=revision.changed,
            rollback_of=revision.rollback_of,
            values={
                path: _Value(one.value, one.origin.kind.value, one.origin.detail)
                for path, one in told.items()
                if path not in secret
            },
            not_kept=tuple(sorted({*secret, *revision.not_kept})),
        )
    )
    return b"%08x %b\n" % (zlib.crc32(text), text)


def revision_of(line: bytes, sources: Mapping[str, Given]) -> Revision:
    """Return the revision that a line has, without its end.

    Args:
        line: The line.
        sources: What the sources say now; secrets, which no line has, and defaults that depend on
            the machine are taken from there.

    Raises:
        DamagedLineError: it is not as it was written.
    """
    told = _read(line)
    given = {path: _untold(path, sources) for path in settings()}
    unusable: dict[str, Problem] = {}
    given |= dict(_values(told.values, unusable))
    return Revision(
        number=told.revision,
        etag=told.etag,
        given=given,
        time=told.time,
        change=Change(told.author, told.comment),
        changed=told.changed,
        rollback_of=told.rollback_of,
        unusable=tuple(unusable.values()),
        lost=tuple(
            problem
            for path, problem in unusable.items()
            if told.values[path].origin not in _OF_SOURCES
        ),
        not_kept=frozenset(told.not_kept),
    )


def _is_told(path: str, one: Given) -> bool:
    return one.origin.kind is not OriginKind.DEFAULT and not settings()[path].secret


def _read(line: bytes) -> _Line:
    checksum, text = line[:_SUM], line[_SUM + 1 :]
    if line[_SUM : _SUM + 1] != b" " or checksum != b"%08x" % zlib.crc32(text):
        msg = "its checksum is wrong"
        raise DamagedLineError(msg)
    try:
        return msgspec.json.decode(text, type=_Line)
    except (msgspec.DecodeError, UnicodeDecodeError):
        msg = "it is not a revision"
        raise DamagedLineError(msg) from None


def _untold(path: str, sources: Mapping[str, Given]) -> Given:
    now, setting = sources[path], settings()[path]
    if setting.secret or now.origin.kind is OriginKind.DEFAULT:
        return now
    return Given(setting.default, Origin(OriginKind.DEFAULT))


def _values(
    told: Mapping[str, _Value], unusable: dict[str, Problem]
) -> Iterator[tuple[str, Given]]:
    for path, one in told.items():
        setting = settings().get(path)
        if setting is None:
            unusable[path] = Problem(path, f"{path} is not a setting of this version")
            continue
        try:
            origin = Origin(OriginKind(one.origin), one.detail)
            yield path, Given(convert(setting, one.value), origin)
        except ConfigError as error:
            unusable[path] = Problem(path, str(error))
        except ValueError:
            unusable[path] = Problem(path, f"{path} has the unknown origin {one.origin!r:.40}")
