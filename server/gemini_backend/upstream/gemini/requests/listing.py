"""The list of models, page by page."""

from __future__ import annotations

from contextlib import suppress
from typing import Annotated, Any

import msgspec

from gemini_backend import masking
from gemini_backend.errors import MalformedAnswer
from gemini_backend.upstream.base import UpstreamModel
from gemini_backend.upstream.gemini.body import decode, object_of
from gemini_backend.upstream.gemini.translation import free_json

PAGE_SIZE = 1000
MAX_PAGES = 50

# What the contract's fields can hold; a number beyond it is kept as it came, beside them.
_Number = Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)]
_FIELDS: dict[str, tuple[str, Any]] = {
    "name": ("name", str),
    "baseModelId": ("base_model_id", str),
    "version": ("version", str),
    "displayName": ("display_name", str),
    "description": ("description", str),
    "inputTokenLimit": ("input_token_limit", _Number),
    "outputTokenLimit": ("output_token_limit", _Number),
    "thinking": ("thinking", bool),
    "temperature": ("temperature", float),
    "maxTemperature": ("max_temperature", float),
    "topP": ("top_p", float),
    "topK": ("top_k", _Number),
}


class Listing:
    """Gathers the pages, at most 50 of them."""

    def __init__(self) -> None:
        """Begin before the first page."""
        self.models: list[UpstreamModel] = []
        self._tokens: list[str] = []

    def query(self) -> dict[str, str]:
        """Return the query for the next page."""
        query = {"pageSize": str(PAGE_SIZE)}
        if self._tokens:
            query["pageToken"] = self._tokens[-1]
        return query

    def take(self, body: bytes) -> bool:
        """Take a page; return whether there is another one.

        Raises:
            MalformedAnswer: it is no page of models, or the pages do not come to an end.
        """
        page = decode.plain(object_of(body))
        found = masking.value(page.get("models", []))
        if not isinstance(found, list):
            msg = "the model API's list of models contains no list"
            raise MalformedAnswer(msg)
        self.models += [_model(item) for item in found if _is_named(item)]
        token = page.get("nextPageToken")
        if not isinstance(token, str) or not token:
            return False
        if token in self._tokens or len(self._tokens) >= MAX_PAGES:
            msg = f"the model API's list of models does not end within {MAX_PAGES} pages"
            raise MalformedAnswer(msg)
        self._tokens.append(token)
        return True


def _is_named(item: Any) -> bool:
    return isinstance(item, dict) and isinstance(item.get("name"), str)


def _model(item: dict[str, Any]) -> UpstreamModel:
    found: dict[str, Any] = {}
    extra: dict[str, Any] = {}
    for key, value in item.items():
        if key == "supportedGenerationMethods" and isinstance(value, list):
            found["supported_methods"] = tuple(str(method) for method in value)
        elif key not in _FIELDS:
            extra[key] = value
        else:
            name, kind = _FIELDS[key]
            try:
                found[name] = msgspec.convert(value, kind)
            except msgspec.ValidationError:
                extra[key] = value
    # what nests deeper than any message can is left out
    with suppress(MalformedAnswer):
        found["extra"] = free_json.free(extra)
    return UpstreamModel(**found)
