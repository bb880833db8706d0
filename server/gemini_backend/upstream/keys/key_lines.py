"""Keys as text: a key per line, as files have them and commands print them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from gemini_backend import masking
from gemini_backend.config import Secret
from gemini_backend.config.secret_text import cleaned
from gemini_backend.upstream.keys.known_key import KeyProblem, KnownKey

if TYPE_CHECKING:
    from gemini_backend.upstream.keys.known_key import KeySource

MAX_BYTES = 1024 * 1024
MAX_KEYS = 1000
_KEY = re.compile(r"[!-~]{1,4096}")
_PROJECT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_VARIABLE = re.compile(r"(export\s+)?[A-Za-z_][A-Za-z0-9_]*=[^=]")


def keys_in(data: bytes, source: KeySource, where: str) -> list[KnownKey]:
    """Return the keys of a text; they are masked from now on in whatever this process shows.

    A line is `KEY` or `PROJECT KEY`, or begins with `#`, or is blank. A text that is blank as a
    whole is refused, since a file has such a moment while it is written; one with comments alone
    has no keys.

    Args:
        data: The text, in UTF-8.
        source: Where it is from.
        where: What errors call it.

    Raises:
        KeyProblem: a line is none of these; the message has its number, and nothing of it.
    """
    keys: list[KnownKey] = []
    lines = [cleaned(line) for line in data.decode(errors="replace").splitlines()]
    if not any(lines):
        msg = f"{where} is empty; write a key on each line, or a comment to have none"
        raise KeyProblem(msg)
    for number, line in enumerate(lines, 1):
        if line and not line.startswith("#"):
            keys.append(_key_of(line, source, f"{where}, line {number}:"))
    if len(keys) > MAX_KEYS:
        msg = f"{where} has {len(keys)} keys; remove some: at most {MAX_KEYS} are used"
        raise KeyProblem(msg)
    masking.remember([key.text.reveal() for key in keys])
    return keys


def _key_of(line: str, source: KeySource, where: str) -> KnownKey:
    project, _, text = line.rpartition(" ") if " " in line else line.rpartition("\t")
    project, text = project.strip(), cleaned(text)
    if _VARIABLE.match(line):
        msg = f"{where} this is an assignment; write the key alone, or `PROJECT KEY`"
        raise KeyProblem(msg)
    if not _KEY.fullmatch(text) or "," in text:
        msg = f"{where} this is no key: use one key per line, as Google shows it"
        raise KeyProblem(msg)
    if project and not _PROJECT.fullmatch(project):
        msg = (
            f"{where} what stands before the key is not a valid name of a project; use up to 63 "
            "letters, digits, . _ -"
        )
        raise KeyProblem(msg)
    return KnownKey(Secret(text), source, project)
