"""Writes docs/api.md, docs/errors.md and docs/recommendations.md."""

from __future__ import annotations

from tools.reference import api, errors, recommendations
from tools.reference.protos import ROOT

PAGES = (
    ("api.md", api.render),
    ("errors.md", errors.render),
    ("recommendations.md", recommendations.render),
)
for page, render in PAGES:
    (ROOT / "docs" / page).write_text(render())
