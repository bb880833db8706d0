"""Fields refuse what their annotations do not allow, wherever the object is made."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import pytest
from msgspec import Meta, inspect

from gemini_backend.checked_fields import WrongValue, check_fields, checked, expectation
from gemini_backend.config import Secret

NO_PIN = Secret("")


@dataclass(frozen=True)
@checked
class Boiler:
    """Options of something that can burst."""

    bars: Annotated[float, Meta(gt=0, le=10)] = 1.0
    valves: Annotated[int, Meta(ge=1)] = 1
    fuel: Literal["gas", "wood"] = "gas"
    extras: Annotated[tuple[Literal["clock", "bell"], ...], Meta(description="x")] = ()
    label: Annotated[str, Meta(max_length=3)] = ""
    pin: Annotated[Secret, Meta(description="x")] = NO_PIN
    note: Any = None


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("bars", 0, "Boiler.bars is 0 and must be a number above 0 to 10"),
        ("bars", math.nan, "Boiler.bars is nan and must be a number above 0 to 10"),
        ("bars", "1", "Boiler.bars is '1' and must be a number above 0 to 10"),
        ("valves", 0, "Boiler.valves is 0 and must be a whole number of at least 1"),
        (
            "valves",
            True,
            "Boiler.valves is True and must be a whole number of at least 1",
        ),
        ("fuel", "coal", "Boiler.fuel is 'coal' and must be one of gas, wood"),
        (
            "extras",
            ("horn",),
            "Boiler.extras is ('horn',) and must be a list, each one of bell, clock",
        ),
        (
            "label",
            "long",
            "Boiler.label is 'long' and must be a text of 0 to 3 characters",
        ),
        ("pin", "1234", "Boiler.pin is 'a text' and must be a text"),
    ],
)
def test_a_wrong_value_is_refused(field: str, value: object, message: str) -> None:
    """The error names the field, what it was given, and what it allows; no secret."""
    with pytest.raises(WrongValue) as refused:
        Boiler(**{field: value})  # type: ignore[arg-type]
    assert (field, f"{message}; change it") == (refused.value.field, str(refused.value))


def test_what_is_allowed_builds() -> None:
    """Values within their ranges build, and anything where nothing is said of the field."""
    boiler = Boiler(10, 1, "wood", ("bell", "clock"), "abc", Secret("1234"), object())  # type: ignore[arg-type]
    check_fields(boiler)
    assert (10, "wood") == (boiler.bars, boiler.fuel)


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (bool, "true or false"),
        (Annotated[int, Meta(ge=1, le=1024)], "a whole number from 1 to 1024"),
        (Annotated[int, Meta(le=5)], "a whole number to 5"),
        (Annotated[float, Meta(gt=0)], "a number above 0"),
        (Annotated[str, Meta(pattern="^a$")], "a text that matches ^a$"),
        (tuple[str, ...], "a list of texts"),
        (Literal["", "on"], 'one of "", on'),
    ],
)
def test_what_is_expected_is_said_in_words(kind: Any, words: str) -> None:
    """The words are those of the reference of the configuration."""
    assert words == expectation(inspect.type_info(kind))
