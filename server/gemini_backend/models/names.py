"""How models are named.

The Gemini API has `models/{model}` and `tunedModels/{model}`. Vertex AI has Google's models as
`publishers/google/models/{model}`, other companies' beside them, and `endpoints/{endpoint}`, each
also with `projects/{project}/locations/{location}/` before it.
"""

from __future__ import annotations

import re

_USUAL = "models/"
_GOOGLES = re.compile(r"(?:models|(?:projects/[^/]+/locations/[^/]+/)?publishers/google/models)/")


def full_name(model: str) -> str:
    """Return `models/{model}` for a short name, and a full name as it is."""
    return model if "/" in model else f"models/{model}"


def short_name(model: str) -> str:
    """Return `{model}` for a model of Google's own, whatever its collection is called.

    Any other name stays whole, so that a tuned model or an endpoint is never taken for a model of
    Google's that is called the same.
    """
    if "/" not in model:
        return model
    if model.startswith(_USUAL):
        return model[len(_USUAL) :]
    match = _GOOGLES.match(model)
    return model[match.end() :] if match else model
