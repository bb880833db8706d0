"""`models validate` and `models recommend`: can it, and which one fits."""

from __future__ import annotations

import sys
from argparse import SUPPRESS
from datetime import timedelta
from math import floor, log10
from typing import TYPE_CHECKING, Any, Final

from google.protobuf.json_format import MessageToJson

from gemini.backend.v1.content_pb2 import Modality
from gemini.backend.v1.model_service_pb2 import (
    ModelCapability,
    ModelCriterion,
    RecommendationPreference,
    UseCase,
)
from gemini_backend_client.commands.command_line import (
    DONE,
    FAILED,
    UsageError,
    add_connection_arguments,
    client_from,
)
from gemini_backend_client.commands.table import table

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace, _SubParsersAction
    from collections.abc import Iterable

    from google.protobuf.message import Message

    from gemini.backend.v1.model_service_pb2 import (
        ModelRecommendation,
        RecommendModelResponse,
        ValidateModelResponse,
    )

__all__ = ["add_commands", "inherit"]

_NANO: Final = 1_000_000_000
_USE_CASE, _CAPABILITY, _MODALITY = "USE_CASE_", "MODEL_CAPABILITY_", "MODALITY_"
_PREFERENCE, _CRITERION = "RECOMMENDATION_PREFERENCE_", "MODEL_CRITERION_"
_HEADINGS = ("RANK", "MODEL", "SCORE", "A REQUEST", "AN ANSWER", "BECAUSE")


def add_commands(parser: ArgumentParser) -> _SubParsersAction[ArgumentParser]:
    """Add the two commands below `models`; return where there is room for more."""
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    validate = commands.add_parser("validate", help="check whether a model can serve a request")
    validate.add_argument("model", help="its name or an alias")
    _add_needs(validate)
    validate.set_defaults(work=_validate)
    recommend = commands.add_parser("recommend", help="rank the models that fit, with reasons")
    recommend.add_argument(
        "use_case",
        nargs="?",
        choices=_words(UseCase, _USE_CASE),
        metavar="USE_CASE",
        help="one of %(choices)s (default: any kind of text)",
    )
    _add_needs(recommend)
    recommend.add_argument(
        "--max-cost", metavar="DOLLARS", type=float, help="maximum cost of one request"
    )
    recommend.add_argument(
        "--max-first-token", metavar="SECONDS", type=float, help="maximum time to the first token"
    )
    recommend.add_argument(
        "--max-latency", metavar="SECONDS", type=float, help="maximum time of a whole answer"
    )
    recommend.add_argument(
        "--prefer",
        choices=_words(RecommendationPreference, _PREFERENCE),
        help="preferred criterion",
    )
    recommend.add_argument("--preview", action="store_true", help="include previews")
    recommend.add_argument(
        "--excluded", action="store_true", help="list the excluded models with reasons"
    )
    recommend.set_defaults(work=_recommend)
    for command in (validate, recommend):
        inherit(command, parser)
    return commands


def inherit(command: ArgumentParser, parser: ArgumentParser) -> None:
    """Let what is given before the command's name hold, where it is not given again after it."""
    known = {action.dest for action in parser._actions}  # noqa: SLF001 - there is no other way
    for action in command._actions:  # noqa: SLF001
        if action.dest in known:
            action.default = SUPPRESS


def _add_needs(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--capability",
        action="append",
        default=[],
        choices=_words(ModelCapability, _CAPABILITY),
        metavar="NAME",
        help="required capability; may be repeated: %(choices)s",
    )
    parser.add_argument(
        "--input",
        action="append",
        default=[],
        choices=_words(Modality, _MODALITY),
        metavar="KIND",
        help="modality of the prompt; may be repeated: %(choices)s",
    )
    parser.add_argument(
        "--input-tokens", metavar="N", type=int, default=0, help="number of prompt tokens"
    )
    parser.add_argument(
        "--output-tokens", metavar="N", type=int, default=0, help="number of answer tokens"
    )
    parser.add_argument("--json", action="store_true", help="print the answer as JSON")
    add_connection_arguments(parser)


def _validate(args: Namespace) -> int:
    with client_from(args) as client:
        answer = client.models.validate(args.model, **_needs(args))
    sys.stdout.write(_json(answer) if args.json else _verdict(args.model, answer))
    return DONE if answer.valid else FAILED


def _verdict(name: str, answer: ValidateModelResponse) -> str:
    lines = [f"{name}: {'yes' if answer.valid else 'no'}"]
    for problem in answer.problems:
        kind = "problem" if problem.blocking else "warning"
        criterion = _word(ModelCriterion.Name(problem.criterion), _CRITERION)
        lines.append(f"  {kind}, {criterion}: {problem.message}")
    if answer.replacement:
        lines.append(f"  use {answer.replacement.removeprefix('models/')}")
    return "\n".join(lines) + "\n"


def _recommend(args: Namespace) -> None:
    fields = _needs(args)
    if args.use_case:
        fields["use_case"] = _value(_USE_CASE, args.use_case)
    if args.prefer:
        fields["preference"] = _value(_PREFERENCE, args.prefer)
    for name, given in (
        ("max_first_token_latency", args.max_first_token),
        ("max_latency", args.max_latency),
    ):
        if given is not None:
            fields[name] = timedelta(seconds=given)
    if args.max_cost is not None:
        fields["max_cost_nano_usd"] = _nano(args.max_cost)
    with client_from(args) as client:
        answer = client.models.recommend(include_preview=args.preview, **fields)
    sys.stdout.write(_json(answer) if args.json else _ranking(answer, excluded=args.excluded))


def _ranking(answer: RecommendModelResponse, *, excluded: bool) -> str:
    rows = [_row(one) for one in answer.recommendations]
    text = table([_HEADINGS, *rows]) if rows else "no model meets every requirement\n"
    if excluded or not rows:
        lines = (f"{_short(one.model)}: {one.message}\n" for one in answer.excluded)
        text += "\nexcluded:\n" + "".join(lines)
    return text


def _row(one: ModelRecommendation) -> tuple[str, ...]:
    took = one.estimated_latency.ToTimedelta().total_seconds()
    return (
        str(one.rank),
        _short(one.model.name),
        f"{one.score:.2f}",
        _dollars(one.estimated_cost_nano_usd) if one.HasField("estimated_cost_nano_usd") else "-",
        f"{took:.3g} s" if one.HasField("estimated_latency") else "-",
        "; ".join(reason.message for reason in one.reasons),
    )


def _needs(args: Namespace) -> dict[str, Any]:
    return {
        "capabilities": [_value(_CAPABILITY, name) for name in args.capability],
        "input_modalities": [_value(_MODALITY, name) for name in args.input],
        "input_tokens": args.input_tokens,
        "output_tokens": args.output_tokens,
    }


def _nano(dollars: float) -> int:
    """Return an amount as the contract has it.

    Raises:
        UsageError: it is no amount of money.
    """
    if not 0 <= dollars < _NANO:
        msg = f"--max-cost {dollars} is not an amount in dollars; give one such as 0.01"
        raise UsageError(msg)
    return round(dollars * _NANO)


def _words(kind: Any, prefix: str) -> list[str]:
    names: Iterable[str] = kind.keys()
    words = [_word(name, prefix) for name in names]
    return [word for word in words if word != "unspecified"]


def _word(name: str, prefix: str) -> str:
    return name.removeprefix(prefix).lower()


def _value(prefix: str, word: str) -> str:
    return prefix + word.upper()


def _short(name: str) -> str:
    return name.removeprefix("models/")


def _dollars(nano: int) -> str:
    amount = nano / _NANO
    digits = max(2, 2 - floor(log10(amount))) if amount else 0
    return f"${amount:.{digits}f}"


def _json(message: Message) -> str:
    return MessageToJson(message, preserving_proto_field_name=True) + "\n"
