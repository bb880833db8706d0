"""Warnings of a command that is no server."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from gemini_backend import masking
from gemini_backend.commands.notices import Notices, show_notices

if TYPE_CHECKING:
    import pytest

KEY = "AIzaSyB3-notice7Key0x7Of1This4Test2Only6"


def test_a_warning_is_a_sentence(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With its setting and its reason, without a key; what has neither is its message."""
    masking.remember([KEY])
    log = logging.getLogger("alone")
    monkeypatch.setattr(log, "handlers", [Notices()])
    monkeypatch.setattr(log, "propagate", False)
    log.warning("secret_file", extra={"setting": "a.b", "reason": f"others may read {KEY}"})
    log.warning("plain")
    log.info("nothing")
    expected = "gemini-backend: a.b: others may read [key]\ngemini-backend: plain\n"
    assert expected == capsys.readouterr().err


def test_they_are_shown_where_no_log_is_set_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """In the place of Python's own last resort."""
    monkeypatch.setattr(logging, "lastResort", None)
    show_notices()
    assert isinstance(logging.lastResort, Notices)
