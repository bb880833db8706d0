"""What the table of models says of each."""

from __future__ import annotations

from datetime import UTC, datetime

from gemini.backend.v1.model_service_pb2 import Model
from gemini_backend_client.commands.models import _row

_MODEL = Model(
    name="models/gemini-x",
    lifecycle="MODEL_LIFECYCLE_DEPRECATED",
    availability="MODEL_AVAILABILITY_AVAILABLE",
    input_token_limit=1_048_576,
    output_token_limit=65_536,
    shutdown_time=datetime(2026, 12, 1, tzinfo=UTC),
    replacement="models/gemini-y",
    prices=[
        {
            "effective_until": datetime(2026, 12, 1, tzinfo=UTC),
            "tier": "PRICE_TIER_STANDARD",
            "rates": [
                {"kind": "PRICE_KIND_INPUT", "nano_usd_per_million": 2_000_000_000},
                {"kind": "PRICE_KIND_OUTPUT", "nano_usd_per_million": 10_000_000_000},
            ],
        },
        {
            "effective_from": datetime(2026, 12, 1, tzinfo=UTC),
            "tier": "PRICE_TIER_STANDARD",
            "rates": [
                {"kind": "PRICE_KIND_INPUT", "nano_usd_per_million": 4_000_000_000},
            ],
        },
        {"tier": "PRICE_TIER_BATCH", "rates": [{"kind": "PRICE_KIND_INPUT"}]},
    ],
)


def test_a_row() -> None:
    """Limits, today's price of an ordinary call, when it ends and what to use instead."""
    row = _row(_MODEL, datetime(2026, 11, 30, tzinfo=UTC))
    limits = ("1,048,576", "65,536")
    note = "shutdown 2026-12-01, use gemini-y"
    assert ("gemini-x", "deprecated", "available", *limits, "2.00", "10.00", note) == row


def test_prices_have_dates() -> None:
    """The price is the one that holds now."""
    row = _row(_MODEL, datetime(2026, 12, 1, tzinfo=UTC))
    assert ("4.00", "-") == row[5:7]


def test_what_is_not_known_is_a_dash() -> None:
    """Nothing is made up."""
    row = _row(Model(name="models/z"), datetime(2026, 12, 1, tzinfo=UTC))
    assert ("z", "-", "-", "-", "-", "-", "-", "") == row
