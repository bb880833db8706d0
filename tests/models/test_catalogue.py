"""The catalogue is checked when it is read, and says what is wrong with it.

Covers: models/catalogue_schema.py
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from gemini.backend.v1.content_pb2 import Usage
from gemini_backend.config import ConfigError
from gemini_backend.models.catalogue import load
from gemini_backend.models.catalogue_schema import ModelLifecycle
from gemini_backend.models.prices import cost_of

DOCUMENTED = Path(__file__).parents[2] / "docs/models.md"
NOW = datetime(2026, 11, 23, tzinfo=UTC)
LATER = datetime(2026, 12, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("name", "now", "later"),
    [
        ("gemini-3.8-flash", ModelLifecycle.STABLE, ModelLifecycle.STABLE),
        ("gemini-3-flash-preview", ModelLifecycle.PREVIEW, ModelLifecycle.PREVIEW),
        ("gemini-2.5-pro", ModelLifecycle.DEPRECATED, ModelLifecycle.GONE),
        ("gemini-2.0-flash-exp", ModelLifecycle.GONE, ModelLifecycle.GONE),
        ("gemini-exp-1206", ModelLifecycle.GONE, ModelLifecycle.GONE),
    ],
)
def test_lifecycles_follow_the_dates(name: str, now: ModelLifecycle, later: ModelLifecycle) -> None:
    """A model is deprecated from the announcement of its end on, and gone from that day on."""
    entry = load().find(name)
    assert entry is not None
    assert (now, later) == (entry.lifecycle(NOW), entry.lifecycle(LATER))


def test_models_are_found_by_name_alias_and_version() -> None:
    """Full names, short ones, aliases; a served version is billed as its model."""
    catalogue = load()
    names = ("models/gemini-3.8-flash", "gemini-flash-latest", "models/gemini-flash-latest")
    found = [catalogue.find(name) for name in names]
    assert ["gemini-3.8-flash"] * 3 == [entry.name for entry in found if entry]
    versions = (
        "gemini-3.8-flash-001",
        "gemini-3.8-flash-preview-09-2026",
        "gemini-3.8-flash-09-25",
    )
    billed = [catalogue.billed(name) for name in versions]
    assert ["gemini-3.8-flash"] * 3 == [entry.name for entry in billed if entry]
    assert catalogue.billed("gemini-3.8-flash-novel") is None


def test_whatever_is_gone_has_a_successor_that_is_served() -> None:
    """The models of old are known as gone, each with what takes its place."""
    catalogue = load()
    for entry in catalogue:
        if entry.lifecycle(NOW) is ModelLifecycle.GONE:
            assert entry.replacement is not None
            following = catalogue.find(entry.replacement)
            assert following is not None
            assert following.lifecycle(NOW) is not ModelLifecycle.GONE


def test_what_is_claimed_is_not_in_doubt(tmp_path: Path) -> None:
    """Whoever knows more than the built-in catalogue says so, and need not deny its doubts."""
    text = """
        [[models]]
        name = "gemini-4-carbon"
        inherit = true
        capabilities = ["generate_content", "code_execution"]
    """
    carbon = load(own(tmp_path, text)).find("gemini-4-carbon")
    assert carbon is not None
    told = [
        (carbon.lacks(one), carbon.may_lack(one))
        for one in ("code_execution", "url_context", "embed_content", "audio", "text")
    ]
    assert [(False, False), (False, True), (True, False), (False, True), (False, False)] == told


@pytest.mark.parametrize(
    ("name", "release"),
    [
        ("gemini-4-argon", date(2026, 9, 30)),
        ("gemini-4-carbon", date(2026, 11, 10)),
        ("gemini-4-hydrogen", date(2026, 11, 12)),
        ("gemini-4-neon", date(2026, 11, 18)),
    ],
)
def test_gemini_4_goes_on_over_hops(name: str, release: date) -> None:
    """65,536 tokens of output a hop, 1,048,576 in all; what is not certain is written down."""
    entry = load().find(name)
    assert entry is not None
    assert (release, 65_536, 1_048_576, 1_048_576) == (
        entry.release,
        entry.output_token_limit,
        entry.total_output_token_limit,
        entry.most_output_tokens,
    )
    assert entry.doubts
    flash = load().find("gemini-3.8-flash")
    assert flash is not None
    assert (65_536, 65_536) == (flash.most_output_tokens, flash.output_token_limit)


def test_every_model_that_is_served_has_a_price_now_and_later() -> None:
    """No period is left without a price for what generates or embeds."""
    for entry in load():
        if entry.lifecycle(NOW) is not ModelLifecycle.GONE:
            for at in (NOW, LATER):
                assert any(price.holds(at) for price in entry.prices), entry.name


def own(tmp_path: Path, text: str) -> str:
    file = tmp_path / "own.toml"
    file.write_text(text)
    return str(file)


def test_an_own_file_extends_and_overrides(tmp_path: Path) -> None:
    """A model of one's own stands beside the others; one of the same name in its place."""
    text = """
        [[models]]
        name = "house-model"
        aliases = ["house"]
        replacement = "gemini-3.8-flash"
        [[models]]
        name = "gemini-3.8-flash"
        display_name = "Ours"
    """
    catalogue = load(own(tmp_path, text))
    house, flash = catalogue.find("house"), catalogue.find("gemini-3.8-flash")
    assert house is not None
    assert flash is not None
    assert ("house-model", "Ours", ()) == (house.name, flash.display_name, flash.prices)


def test_the_documented_file_does_what_it_says(tmp_path: Path) -> None:
    """A price of one's own on top of the built-in model, tiers and dates, a model with an alias."""
    (text,) = re.findall(r"^```toml\n(.*?)^```$", DOCUMENTED.read_text(), re.MULTILINE | re.DOTALL)
    catalogue = load(own(tmp_path, text))
    flash, tickets = catalogue.find("gemini-flash-latest"), catalogue.find("tickets")
    assert flash is not None
    assert tickets is not None
    assert ("gemini-3.8-flash", 1_048_576, 3) == (
        flash.name,
        flash.input_token_limit,
        len(flash.prices),
    )
    usage = Usage(prompt_token_count=1_000_000)
    costs = [
        cost_of(flash, usage, datetime(year, 12, 31, tzinfo=UTC), tier=tier)
        for year, tier in ((2026, "standard"), (2027, "standard"), (2026, "batch"))
    ]
    assert [600_000_000, 750_000_000, 250_000_000] == [
        cost and cost.cost_nano_usd for cost in costs
    ]
    days = (datetime(2027, month, 1, tzinfo=UTC) for month in (2, 3, 6))
    stages = [tickets.lifecycle(day) for day in days]
    assert [ModelLifecycle.DEPRECATED, ModelLifecycle.DEPRECATED, ModelLifecycle.GONE] == stages


PRICES = """
    [[models]]
    name = "x"
    [[models.prices]]
    input = 1
    until = "2026-12-02"
    [[models.prices]]
    input = 2
    from = "2026-12-01"
"""


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (PRICES, "x: two prices of the tier standard above 0 tokens overlap"),
        ('[[models]]\nname = "x"\ncapabilities = ["fly"]', "fly"),
        ('[[models]]\nname = "x"\nwings = 2', "wings"),
        ('[[models]]\nname = "x"\nunconfirmed = ["fly"]', "fly"),
        (
            '[[models]]\nname = "x"\noutput_token_limit = 9\ntotal_output_token_limit = 8',
            "x: its total_output_token_limit, over all hops, is less than its output_token_limit",
        ),
        ('[[models]]\nname = "x"\n[[models.prices]]\ninput = 100_000_000_000_001', "input"),
        ('[[models]]\nname = "x"\nreplacement = "y"', "replacement y is not a model"),
        (
            '[[models]]\nname = "x"\nreplacement = "y"\n[[models]]\nname = "y"\nreplacement = "x"',
            "form a cycle",
        ),
        ('[[models]]\nname = "x"\n[[models]]\nname = "x"', "x: is defined twice"),
        ('[[models]]\nname = "x"\naliases = ["gemini-3.8-flash"]', "is the name of a model"),
        ('[[models]]\nname = "x"\naliases = ["gemini-flash-latest"]', "is also an alias of"),
        (
            '[[models]]\nname = "x"\nthinking = {levels = ["low"], default_level = "high"}',
            "not one of",
        ),
        (
            '[[models]]\nname = "x"\nthinking = {min_budget = 5, max_budget = 1}',
            "min_budget must not be larger",
        ),
        (
            '[[models]]\nname = "x"\nrelease = 2026-02-01\nshutdown = 2026-01-01',
            "its shutdown comes before",
        ),
        ('[[models]]\nname = "x"\nrelease = 2026-01-01\nshutdown = 2026-01-01', "on the day of"),
        (
            '[[models]]\nname = "x"\ndeprecation = 2026-02-01\nshutdown = 2026-01-01',
            "its shutdown comes before its deprecation",
        ),
        (
            '[[models]]\nname = "x"\nrelease = 2026-02-01\ndeprecation = 2026-01-01',
            "its deprecation comes before its release",
        ),
        ("[[models]]\nname = 'x y'", "models[0].name"),
        ("models = = 1", "Invalid value"),
        (
            '[[models]]\nname = "x"\ninherit = true',
            "x: there is no built-in model of this name to inherit from",
        ),
        ("models = 1", "Expected `array`"),
        ("models = [1]", "Expected `object`"),
    ],
)
def test_a_wrong_file_is_refused_with_file_model_and_fix(
    tmp_path: Path, text: str, words: str
) -> None:
    """The start fails with one sentence that says what to correct."""
    with pytest.raises(ConfigError) as failed:
        load(own(tmp_path, text))
    assert words in str(failed.value)
    assert "models.catalogue_file" in str(failed.value)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    """The setting and the path stand in the message."""
    with pytest.raises(ConfigError, match=r"models\.catalogue_file: .*none\.toml cannot be read"):
        load(str(tmp_path / "none.toml"))
