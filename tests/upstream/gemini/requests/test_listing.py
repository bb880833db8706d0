"""A list of models is taken as it comes, however odd one of them is."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from gemini.backend.v1 import model_service_pb2 as pb
from gemini_backend.api.messages.models import message_of
from gemini_backend.models.measured import NOTHING
from gemini_backend.models.registry import Known
from gemini_backend.upstream.gemini.requests.listing import Listing

NOW = datetime(2026, 11, 23, tzinfo=UTC)
DEEP: dict[str, Any] = {}
for _ in range(300):
    DEEP = {"a": DEEP}


def shown(**fields: Any) -> pb.Model:
    """Return how a model that nobody knows is shown, as a client reads it."""
    listing = Listing()
    listing.take(json.dumps({"models": [{"name": "models/odd", **fields}]}).encode())
    (model,) = listing.models
    message = message_of(Known(model.name, None, model, asked=True), NOTHING, NOW)
    return pb.Model.FromString(message.SerializeToString())


@pytest.mark.parametrize("field", ["inputTokenLimit", "outputTokenLimit", "topK"])
@pytest.mark.parametrize("value", [2**31, 2**70, -1, "many"])
def test_a_number_that_no_field_can_hold_is_kept_beside_them(field: str, value: Any) -> None:
    """A limit or a setting out of range is an extra of its model, and no failure of the list."""
    model = shown(**{field: value})
    assert (False, False, False) == (
        model.HasField("input_token_limit"),
        model.HasField("output_token_limit"),
        model.sampling.HasField("top_k"),
    )
    assert [field] == list(model.extra)


def test_what_nests_too_deeply_is_left_out() -> None:
    """Nothing that the upstream adds to a model makes the list unreadable."""
    assert {} == dict(shown(novel=DEEP).extra)
    assert {"novel": "x"} == dict(shown(novel="x").extra)
