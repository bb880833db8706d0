"""The configuration: a typed tree, its sources, its revisions.

`read(file, environ, options)` gives `Settings`; `ConfigStore(settings)` holds what is in force.
"""

from __future__ import annotations

from gemini_backend.config.errors import (
    ConfigError,
    DamagedHistory,
    NotKept,
    Problem,
    RestartNeeded,
    StaleEtag,
    UnknownRevision,
)
from gemini_backend.config.loading import Settings, read
from gemini_backend.config.revisions import RESET, Change, Reloaded, Revision, RevisionFile
from gemini_backend.config.secret import MASK, Secret
from gemini_backend.config.sources import Given, Origin, OriginKind
from gemini_backend.config.store import ConfigStore
from gemini_backend.config.tree import Config

__all__ = [
    "MASK",
    "RESET",
    "Change",
    "Config",
    "ConfigError",
    "ConfigStore",
    "DamagedHistory",
    "Given",
    "NotKept",
    "Origin",
    "OriginKind",
    "Problem",
    "Reloaded",
    "RestartNeeded",
    "Revision",
    "RevisionFile",
    "Secret",
    "Settings",
    "StaleEtag",
    "UnknownRevision",
    "read",
]
