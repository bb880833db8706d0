"""Writes docs/api.md and docs/errors.md."""

from __future__ import annotations

from tools.reference import api, errors
from tools.reference.protos import ROOT

for page, render in (("api.md", api.render), ("errors.md", errors.render)):
    (ROOT / "docs" / page).write_text(render())
