"""How models are named, on the Gemini API and on Vertex AI."""

from __future__ import annotations

import pytest

from gemini_backend.models.catalogue import load
from gemini_backend.models.names import full_name, short_name

PROJECT = "projects/p-1/locations/us-central1"
ELSEWHERE = [
    "tunedModels/gemini-3.5-flash",
    "endpoints/gemini-3.5-flash",
    f"{PROJECT}/endpoints/gemini-3.5-flash",
    "publishers/other/models/gemini-3.5-flash",
    f"{PROJECT}/publishers/other/models/gemini-3.5-flash",
]


@pytest.mark.parametrize(
    "name",
    [
        "gemini-3.5-flash",
        "models/gemini-3.5-flash",
        "publishers/google/models/gemini-3.5-flash",
        f"{PROJECT}/publishers/google/models/gemini-3.5-flash",
    ],
)
def test_a_model_of_googles_has_one_short_name(name: str) -> None:
    """Whatever its collection is called, and so has what is known of it."""
    assert "gemini-3.5-flash" == short_name(name)
    found = load().find(name)
    assert found is not None
    assert "gemini-3.5-flash" == found.name


@pytest.mark.parametrize("name", ELSEWHERE)
def test_what_is_called_the_same_elsewhere_is_another_model(name: str) -> None:
    """A tuned model, an endpoint and another company's model are not Google's of that name."""
    assert name == short_name(name)
    assert load().find(name) is None


@pytest.mark.parametrize("name", ELSEWHERE)
def test_full_names_stay_as_they_are(name: str) -> None:
    """Only a name without a collection is given one."""
    assert name == full_name(name)
    assert "models/x" == full_name("x")
