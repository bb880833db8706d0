"""The refusals that Gemini gives to a well-formed request which it will not serve."""

from __future__ import annotations

from itertools import groupby, pairwise
from typing import TYPE_CHECKING

from gemini_backend.upstream.simulator.errors import invalid, violation
from gemini_backend.upstream.simulator.models import MAX_CANDIDATES
from gemini_backend.upstream.simulator.requests import signatures
from gemini_backend.upstream.simulator.schemas import check_schema, value_for

if TYPE_CHECKING:
    from gemini_backend.upstream.simulator.models import Model
    from gemini_backend.upstream.simulator.requests.ask import Ask
    from gemini_backend.upstream.simulator.wire import Json

_CONFIG = "GenerateContentRequest.generation_config."
MAX_STOPS = 5
_DATA = (
    "text",
    "inlineData",
    "fileData",
    "functionCall",
    "functionResponse",
    "executableCode",
    "codeExecutionResult",
    "toolCall",
    "toolResponse",
)


def validate(ask: Ask) -> None:
    """Refuses what Gemini refuses.

    Raises:
        ApiError: 400, worded as Gemini words it; only the first reason found.
    """
    check_contents(ask.contents, "GenerateContentRequest")
    _ranges(ask)
    _penalties(ask)
    _thinking(ask.model, ask.thinking)
    _formats(ask)
    _turns(ask.contents)
    signatures.check(ask.contents, demanded=ask.model.demands_signatures)
    _length(ask)
    _schemas(ask)


def check_contents(contents: list[Json], message: str) -> None:
    """Refuses missing turns, turns without parts, and parts without content.

    Raises:
        ApiError: 400.
    """
    if not contents:
        raise violation(f"{message}.contents", "contents is not specified")
    for i, content in enumerate(contents):
        if content.get("role", "user") not in ("user", "model", "function", ""):
            raise invalid("Please use a valid role: user, model.")
        if not content.get("parts"):
            raise violation(f"{message}.contents[{i}].parts", "contents.parts must not be empty.")
        for j, part in enumerate(content["parts"]):
            # A bare signature rides on a part of its own at the end of a stream.
            if not any(name in part for name in (*_DATA, "thoughtSignature")):
                raise violation(
                    f"{message}.contents[{i}].parts[{j}].data",
                    "required oneof field 'data' must have one initialized field",
                )


def _ranges(ask: Ask) -> None:
    config = ask.config
    _between(config, "temperature", 0.0, 2.0)
    _between(config, "topP", 0.0, 1.0, "top_p")
    _between(config, "candidateCount", 1, MAX_CANDIDATES, "candidate_count")
    _between(config, "maxOutputTokens", 1, ask.model.total_output_limit, "max_output_tokens")
    if config.get("candidateCount", 1) > ask.model.candidates:
        raise invalid("Multiple candidates is not enabled for this model")
    if len(config.get("stopSequences", ())) > MAX_STOPS:
        raise violation(
            _CONFIG + "stop_sequences", f"at most {MAX_STOPS} stop sequences are allowed"
        )


def _between(config: Json, name: str, low: float, high: float, shown: str = "") -> None:
    value = config.get(name)
    if value is not None and not low <= value <= high:
        field = shown or name
        raise violation(_CONFIG + field, f"{field} must be in the range [{low}, {high}].")


def _penalties(ask: Ask) -> None:
    asked = ask.config.get("presencePenalty") or ask.config.get("frequencyPenalty")
    if asked and not ask.model.penalties:
        raise invalid("Penalty is not enabled for this model")


def _thinking(model: Model, thinking: Json) -> None:
    level, budget = thinking.get("thinkingLevel"), thinking.get("thinkingBudget")
    if level is not None and budget is not None:
        raise invalid("You can only set only one of thinking budget and thinking level.")
    if level is not None and not model.levels:
        raise invalid("Thinking level is not supported for this model.")
    if level is not None and level not in model.levels:
        raise invalid(f"Thinking level {level} is not supported for this model.")
    if budget is None:
        return
    if not model.thinks:
        raise invalid("Thinking is not enabled for this model")
    if budget == 0 and not model.can_stop_thinking:
        raise invalid("Budget 0 is invalid. This model only works in thinking mode.")
    low, high = model.budget or (0, 32_768)
    if budget not in (0, -1) and not low <= budget <= high:
        raise invalid(
            f"The thinking budget {budget} is invalid. Please choose a value between {low} and "
            f"{high}."
        )


def _formats(ask: Ask) -> None:
    config = ask.config
    if config.get("responseSchema") is not None and config.get("responseJsonSchema") is not None:
        raise invalid("Only one of response_schema and response_json_schema can be set.")
    mime = config.get("responseMimeType", "text/plain")
    if mime not in ("", "text/plain", "application/json", "text/x.enum"):
        raise violation(
            _CONFIG + "response_mime_type",
            "allowed mimetypes are `text/plain`, `application/json`, `application/xml`, "
            "`application/yaml` and `text/x.enum`.",
        )
    if mime != "application/json" or not ask.functions():
        return
    mode, _ = ask.calling()
    if mode == "ANY" or (not ask.model.demands_signatures and mode != "NONE"):
        forced = "Forced function calling (mode: ANY)" if mode == "ANY" else "Function calling"
        raise invalid(f"{forced} with a response mime type: 'application/json' is unsupported")


def _turns(contents: list[Json]) -> None:
    # Turns of the same role that follow each other count as one.
    runs = [(by, list(turns)) for by, turns in groupby(contents, _by_model)]
    for (by_model, before), (_, after) in pairwise(runs):
        calls = _number(before, "functionCall")
        answers = _number(after, "functionResponse")
        if by_model and answers and calls != answers:
            raise invalid(
                "Please ensure that the number of function response parts is equal to the number "
                "of function call parts of the function call turn."
            )


def _by_model(content: Json) -> bool:
    return content.get("role") == "model"


def _number(contents: list[Json], name: str) -> int:
    return sum(1 for content in contents for part in content["parts"] if name in part)


def _schemas(ask: Ask) -> None:
    for function in ask.functions():
        for name in ("parameters", "parametersJsonSchema"):
            if function.get(name):
                check_schema(function[name])
    schema = ask.schema()
    if schema is not None:
        # Filling it in shows whether it can be filled in.
        value_for(schema, "")


def _length(ask: Ask) -> None:
    total = sum(ask.prompt_tokens().values())
    if total > ask.model.input_limit:
        raise invalid(
            f"The input token count ({total}) exceeds the maximum number of tokens allowed "
            f"({ask.model.input_limit})."
        )
