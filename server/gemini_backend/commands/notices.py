"""Warnings of a command that is no server: sentences on standard error, not lines of a log."""

from __future__ import annotations

import logging
import sys

from gemini_backend import masking


class Notices(logging.Handler):
    """Writes what is logged as a warning or worse, by its setting and its reason."""

    def __init__(self) -> None:
        """Take warnings, and what is worse."""
        super().__init__(logging.WARNING)

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line; a line that cannot be written is lost."""
        facts = (getattr(record, name, "") for name in ("setting", "reason", "problem"))
        said = ": ".join(filter(None, facts)) or record.getMessage()
        try:
            sys.stderr.write(f"gemini-backend: {masking.text(said)}\n")
        except OSError:
            self.handleError(record)


def show_notices() -> None:
    """Use these sentences wherever no log is set up."""
    logging.lastResort = Notices()
