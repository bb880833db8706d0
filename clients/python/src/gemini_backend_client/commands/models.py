"""The command that lists the models that the server knows, judges them, and says which one fits."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from google.protobuf.json_format import MessageToJson

from gemini.backend.v1.model_service_pb2 import (
    ListModelsRequest,
    ModelAvailability,
    ModelLifecycle,
    PriceKind,
    PriceTier,
)
from gemini_backend_client.commands import model_advice
from gemini_backend_client.commands.command_line import (
    add_connection_arguments,
    client_from,
    run_reported,
)
from gemini_backend_client.commands.table import table

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

    from gemini.backend.v1.model_service_pb2 import Model, ModelPrice

__all__ = ["add_arguments", "run"]

_NANO = 1e9
_HEADINGS = ("MODEL", "STATE", "AVAILABLE", "TOKENS IN", "TOKENS OUT", "$/M IN", "$/M OUT", "NOTE")
_NUMBERS = frozenset({"TOKENS IN", "TOKENS OUT", "$/M IN", "$/M OUT"})


def add_arguments(parser: ArgumentParser) -> None:
    """Add the command's arguments to `parser`."""
    _add_listing_arguments(parser)
    add_connection_arguments(parser)
    commands = model_advice.add_commands(parser)
    listing = commands.add_parser("list", help="list the models (the default command)")
    _add_listing_arguments(listing)
    add_connection_arguments(listing)
    model_advice.inherit(listing, parser)


def _add_listing_arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--all", action="store_true", help="also list models that are deprecated or gone"
    )
    parser.add_argument("--json", action="store_true", help="print each model as one line of JSON")


def run(args: Namespace) -> int:
    """Print the models, ordered by name; or what `validate` or `recommend` is asked for.

    Returns:
        0 when done, 1 when `validate` says no, the server could not answer or nobody reads stdout
        any more, 2 for wrong use, 130 after Ctrl-C.
    """
    work = getattr(args, "work", _list)
    return run_reported("gemini-backend models", lambda: work(args))


def _list(args: Namespace) -> None:
    request = ListModelsRequest(include_deprecated=args.all, include_gone=args.all, page_size=1000)
    with client_from(args) as client:
        models = client.models.list(request)
        if args.json:
            for model in models:
                line = MessageToJson(model, preserving_proto_field_name=True, indent=None)
                sys.stdout.write(line + "\n")
            return
        now = datetime.now(UTC)
        rows = [_row(model, now) for model in models]
    sys.stdout.write(table([_HEADINGS, *rows], _NUMBERS))


def _row(model: Model, now: datetime) -> tuple[str, ...]:
    price_in, price_out = _prices(model, now)
    return (
        model.name.removeprefix("models/"),
        _word(ModelLifecycle.Name(model.lifecycle), "MODEL_LIFECYCLE_"),
        _word(ModelAvailability.Name(model.availability), "MODEL_AVAILABILITY_"),
        f"{model.input_token_limit:,}" if model.HasField("input_token_limit") else "-",
        f"{model.output_token_limit:,}" if model.HasField("output_token_limit") else "-",
        price_in,
        price_out,
        _note(model),
    )


def _word(name: str, prefix: str) -> str:
    word = name.removeprefix(prefix).lower()
    return "-" if word == "unspecified" else word


def _prices(model: Model, now: datetime) -> tuple[str, str]:
    """Return the dollars for a million tokens in and out, of an ordinary call today."""
    today = next((price for price in model.prices if _holds(price, now)), None)
    rates = {} if today is None else {rate.kind: rate for rate in reversed(today.rates)}
    kinds = (PriceKind.PRICE_KIND_INPUT, PriceKind.PRICE_KIND_OUTPUT)
    found = [
        f"{rates[kind].nano_usd_per_million / _NANO:.2f}" if kind in rates else "-"
        for kind in kinds
    ]
    return found[0], found[1]


def _holds(price: ModelPrice, now: datetime) -> bool:
    """Whether it is the price of an ordinary call with a short prompt at `now`."""
    return (
        price.tier in {PriceTier.PRICE_TIER_STANDARD, PriceTier.PRICE_TIER_UNSPECIFIED}
        and price.above_prompt_tokens == 0
        and not (price.HasField("effective_from") and price.effective_from.ToDatetime(UTC) > now)
        and not (price.HasField("effective_until") and price.effective_until.ToDatetime(UTC) <= now)
    )


def _note(model: Model) -> str:
    facts = []
    if model.HasField("shutdown_time"):
        facts.append(f"shutdown {model.shutdown_time.ToDatetime(UTC):%Y-%m-%d}")
    if model.replacement:
        facts.append(f"use {model.replacement.removeprefix('models/')}")
    return ", ".join(facts)
