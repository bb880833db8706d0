"""Options refuse wrong values where they are made, not only where they are loaded."""

from __future__ import annotations

import math
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, get_type_hints

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import inspect

from gemini_backend.checked_fields import WrongValue
from gemini_backend.config import Config, ConfigError
from gemini_backend.config.about import Options
from gemini_backend.upstream.gemini.options import GeminiOptions
from gemini_backend.upstream.simulator.options import SimulatorOptions

if TYPE_CHECKING:
    from collections.abc import Iterator

# What has no default.
REQUIRED = {
    "ChaosRuleOptions": {"fault": "cut"},
    "InterceptorOptions": {"name": "mine", "before": "retry"},
    "QuotaLimitOptions": {"model": "gemini-x"},
}


@dataclass(frozen=True)
class Field:
    """A field of options, and what msgspec knows of its type."""

    options: type
    name: str
    shape: Any

    def __str__(self) -> str:
        return f"{self.options.__module__.rpartition('.')[2]}.{self.options.__name__}.{self.name}"

    def make(self, value: object) -> None:
        """Make the options with this field so."""
        self.options(**(REQUIRED.get(self.options.__name__, {}) | {self.name: value}))

    @property
    def ends(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """The smallest and largest values that are allowed, and the nearest that are not."""
        whole, one = isinstance(self.shape, inspect.IntType), self.shape
        inside, outside = [], [math.nan, -math.inf, math.inf]
        if one.ge is not None:
            inside.append(one.ge)
            outside.append(one.ge - 1 if whole else math.nextafter(one.ge, -math.inf))
        if one.gt is not None:
            inside.append(one.gt + 1 if whole else math.nextafter(one.gt, math.inf))
            outside.append(one.gt)
        if one.le is not None:
            inside.append(one.le)
            outside.append(one.le + 1 if whole else math.nextafter(one.le, math.inf))
        else:
            outside.remove(math.inf) if not whole else None
        return tuple(inside), tuple(outside)


def options() -> Iterator[type]:
    """Yield every class of options."""
    waiting: list[type] = [Options]
    while waiting:
        found = waiting.pop().__subclasses__()
        waiting += found
        yield from (one for one in found if one is not Config)
    yield from (GeminiOptions, SimulatorOptions)


def fields(*kinds: type) -> list[Field]:
    """Return every field of such a type."""
    found = []
    for one in options():
        for name, hint in get_type_hints(one, include_extras=True).items():
            if hasattr(hint, "__metadata__"):
                shape = inspect.type_info(hint)
                found.append(
                    Field(one, name, shape.type if isinstance(shape, inspect.Metadata) else shape)
                )
    return [field for field in found if isinstance(field.shape, kinds)]


NUMBERS = fields(inspect.IntType, inspect.FloatType)


@pytest.mark.parametrize("field", NUMBERS, ids=str)
def test_the_ends_of_a_range(field: Field) -> None:
    """The ends are allowed, unless at odds with another field; what is just beyond is refused."""
    inside, outside = field.ends
    for value in inside:
        with suppress(ConfigError):
            field.make(value)
    for value in outside:
        with pytest.raises(WrongValue, match=rf"{field.name} is .+ and must be a .*number"):
            field.make(value)


@given(st.sampled_from(NUMBERS), st.integers(-(2**60), 2**60) | st.floats())
def test_a_range_holds_for_any_number(field: Field, value: float) -> None:
    """A number builds exactly where the range, as it is declared, says so."""
    one = field.shape
    allowed = (
        (one.ge is None or value >= one.ge)
        and (one.gt is None or value > one.gt)
        and (one.le is None or value <= one.le)
        and (isinstance(value, int) or isinstance(one, inspect.FloatType))
    )
    with suppress(ConfigError) if allowed else pytest.raises(WrongValue):
        field.make(value)


@pytest.mark.parametrize("field", fields(inspect.LiteralType), ids=str)
def test_a_choice_is_one_of_those(field: Field) -> None:
    """Each choice builds; any other word is refused, and the error names the choices."""
    for value in field.shape.values:
        field.make(value)
    with pytest.raises(WrongValue) as refused:
        field.make("no such choice")
    assert all(value in str(refused.value) for value in field.shape.values)


def test_every_section_is_checked() -> None:
    """The classes that are looked through here are all that the tree has."""
    tree = {type(getattr(Config(), name)) for name in Config.__struct_fields__} - {tuple}
    assert set() == tree - set(options())
    assert 90 < len(NUMBERS)
