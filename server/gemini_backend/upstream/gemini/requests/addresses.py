"""Where each call goes."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from yarl import URL

from gemini_backend.errors import InvalidRequest, Violation

if TYPE_CHECKING:
    from collections.abc import Mapping

_MODEL = re.compile(r"(?:(models|tunedModels)/)?([A-Za-z0-9][A-Za-z0-9._-]{0,127})")


@lru_cache(maxsize=512)
def of_model(base_url: str, version: str, model: str, verb: str) -> URL:
    """Return the address of a method of a model.

    Raises:
        InvalidRequest: the model's name cannot be one.
    """
    match = _MODEL.fullmatch(model)
    if match is None:
        what = objection(model)
        raise InvalidRequest(f"model {what}", violations=[Violation("model", what, "model")])
    return _url(base_url, f"{version}/{match[1] or 'models'}/{match[2]}:{verb}")


def objection(model: str) -> str:
    """Return why this API has no model of such a name, in words; empty where it may have one."""
    if _MODEL.fullmatch(model):
        return ""
    return (
        "is not the name of a model that this upstream serves: models/{model} and "
        "tunedModels/{model}; write one of these, or just {model}"
    )


def of_models(base_url: str, version: str, query: Mapping[str, str]) -> URL:
    """Return the address of a page of the list of models."""
    return _url(base_url, f"{version}/models?{urlencode(query)}")


def _url(base_url: str, rest: str) -> URL:
    return URL(f"{base_url.rstrip('/')}/{rest}", encoded=True)
