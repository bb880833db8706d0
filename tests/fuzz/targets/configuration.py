"""Configuration: any file and any environment are taken, or refused in words that name the fix."""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path

from gemini_backend.config import ConfigError, read
from gemini_backend.config.reference import settings
from tests.fuzz.draws import Draws

_VALUES = (
    '""',
    "0",
    "-1",
    "1e400",
    "nan",
    "true",
    "[]",
    "{}",
    '["a"]',
    '"127.0.0.1:0"',
    "1979-05-27T07:32:00Z",
    "9223372036854775808",
    '[{a = 1, b = ["c"]}]',
)
_MARK = "planted-secret-9f3c7a"


def check(data: bytes) -> None:
    """Read a file and an environment; of a refusal, no sentence quotes a secret."""
    draws = Draws(data)
    environ = {"HOME": "/nonexistent"}
    for _ in range(draws.below(4)):
        path = draws.one_of(_paths())
        name = "GEMINI_BACKEND_" + path.upper().replace(".", "__")
        secret = settings()[path].secret and draws.flag()
        environ[name] = _MARK if secret else draws.text(40).replace("\0", "")
    text = _toml(draws) if draws.flag() else draws.rest()
    file = _folder() / "config.toml"
    file.write_bytes(text)
    said = "taken"
    try:
        read(file, environ)
    except ConfigError as error:
        said = str(error)
    assert said
    assert _MARK not in said


def _toml(draws: Draws) -> bytes:
    """Return a file that sets settings, each to something."""
    lines = []
    for _ in range(draws.below(6)):
        value = draws.one_of(_VALUES) if draws.flag() else repr(draws.text(16))
        lines.append(f"{draws.one_of(_paths())} = {value}\n")
    return "".join(lines).encode(errors="replace")


@cache
def _paths() -> tuple[str, ...]:
    return tuple(sorted(settings()))


@cache
def _made() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="fuzz-")


def _folder() -> Path:
    return Path(_made().name)
