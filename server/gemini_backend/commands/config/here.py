"""The configuration as a server on this machine would start with it, overrides on disk included."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from gemini_backend.config import RevisionFile, read
from gemini_backend.config.revisions import file_in, resumed

if TYPE_CHECKING:
    from argparse import Namespace

    from gemini_backend.config import Settings
    from gemini_backend.config.revisions import Resumed


def sources(args: Namespace) -> Settings:
    """Return what file and environment say.

    Raises:
        ConfigError: something is wrong with one of them.
    """
    return read(args.config, os.environ)


def as_started(settings: Settings) -> Resumed:
    """Return what a start would begin with; nothing is written.

    Raises:
        DamagedHistory: overrides are on disk and cannot be read.
    """
    kept = []
    if settings.config.revisions.store == "disk":
        file = RevisionFile(file_in(settings.config.state.dir))
        kept = file.load(settings.given)
    return resumed(settings.given, settings.config, kept, "", time.time())
