"""Revisions of the configuration: what each one is, how they are kept, what outlasts a restart.

The rule of precedence, from the weakest source to the strongest: built-in default, file,
environment, command line, overrides. An override is a value that `UpdateConfig` or
`RollbackConfig` has set; it stays until it is reset or rolled back, also over reloads and restarts.
"""

from __future__ import annotations

from gemini_backend.config.revisions.layers import changed_between, hidden_by, overrides_of
from gemini_backend.config.revisions.lines import check_size
from gemini_backend.config.revisions.patch import patched
from gemini_backend.config.revisions.revision import (
    MAX_REVISIONS,
    RESET,
    Change,
    Reloaded,
    Revision,
)
from gemini_backend.config.revisions.revision_file import RevisionFile, file_in
from gemini_backend.config.revisions.rollback import left_as_they_are, restored
from gemini_backend.config.revisions.start import Resumed, resumed

__all__ = [
    "MAX_REVISIONS",
    "RESET",
    "Change",
    "Reloaded",
    "Resumed",
    "Revision",
    "RevisionFile",
    "changed_between",
    "check_size",
    "file_in",
    "hidden_by",
    "left_as_they_are",
    "overrides_of",
    "patched",
    "restored",
    "resumed",
]
