"""The log on disk: its lines, their chain, its head; written, recovered, read, verified."""

from __future__ import annotations

from gemini_backend.audit.files.lines import lines_of
from gemini_backend.audit.files.place import Place, place_of
from gemini_backend.audit.files.reading import Page, Position, read_page
from gemini_backend.audit.files.verification import Verdict, verify
from gemini_backend.audit.files.writer import Writer

__all__ = [
    "Page",
    "Place",
    "Position",
    "Verdict",
    "Writer",
    "lines_of",
    "place_of",
    "read_page",
    "verify",
]
