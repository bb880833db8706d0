"""The reference of all settings, as docs/configuration.md has it."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

import msgspec

from gemini_backend.config.reference.catalogue import settings
from gemini_backend.config.secret import Secret
from gemini_backend.config.tree import Config

if TYPE_CHECKING:
    from gemini_backend.config.reference.catalogue import Setting

_HEAD = """\
# Configuration

Sources of values, in order of increasing precedence: built-in defaults; the TOML file named by
`--config` or `GEMINI_BACKEND_CONFIG`; environment variables, named as below; command-line options;
overrides by `ConfigService`, which are kept over restarts until they are reset or rolled back
([operations.md](operations.md#which-source-decides)). The server refuses to start with an unknown
name or an invalid value, and the message says how to fix it.

A **live** setting can be changed while the server runs, by ConfigService or in the file; all others
are read at the start. In variables, lists of texts are separated by commas and lists of tables are
JSON. A port that other machines can reach needs authentication (`auth.methods`), otherwise the
server refuses to start.

This page is the output of `python -m gemini_backend.config`.
"""


def render() -> str:
    """Return the page: Markdown, one table a section."""
    parts = [_HEAD]
    for section, members in groupby(settings().values(), lambda one: one.path.rpartition(".")[0]):
        title = f"`{section}`" if section else "Lists of tables"
        parts.append(f"\n## {title}\n")
        if section:
            parts.append(f"\n{_meaning(section)}\n")
        parts.append("\n| setting | default | must be | live | meaning |\n|---|---|---|---|---|\n")
        parts.extend(_row(setting) for setting in members)
    return "".join(parts)


def _meaning(section: str) -> str:
    """Return the first paragraph of the docstring of a section's struct."""
    struct: type[msgspec.Struct] = Config
    for name in section.split("."):
        struct = next(f.type for f in msgspec.structs.fields(struct) if f.name == name)
    return (struct.__doc__ or "").partition("\n\n")[0]


def _row(setting: Setting) -> str:
    cells = (
        f"`{setting.path}`<br>`{setting.variable}`",
        _default(setting),
        setting.expects.replace("|", "\\|"),
        "yes" if setting.live else "",
        setting.description.replace("|", "\\|"),
    )
    return "| " + " | ".join(cells) + " |\n"


def _default(setting: Setting) -> str:
    value = setting.default
    if value in ("", (), Secret("")):
        return ""
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, tuple):
        return f"`{','.join(map(str, value))}`"
    return f"`{value:g}`" if isinstance(value, float) else f"`{value}`"
