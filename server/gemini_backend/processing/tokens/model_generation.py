"""Which generation a model belongs to: tokens are counted by its rules."""

from __future__ import annotations

import re

from gemini_backend.models.names import short_name

# Where a name does not say, and where texts are first counted as they are counted here.
NEWEST, GEMMA_3 = 3.0, 2.5
_NUMBERED = re.compile(r"^gemini-(\d+(?:\.\d+)?)(?:-|$)")
_OTHERS = re.compile(r"^(?!gemini-)|embedding")


def generation_of(model: str) -> float:
    """Return a model's generation, such as 2.5; 0 for what is no Gemini model that answers.

    Args:
        model: Its own name, not an alias; one that has no number counts as the newest.
    """
    name = short_name(model)
    if _OTHERS.search(name):
        return 0.0
    numbered = _NUMBERED.match(name)
    return float(numbered[1]) if numbered else NEWEST
