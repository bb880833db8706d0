"""What a request asks of a model, field by field, against what the model can do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from gemini.backend.v1 import content_pb2 as content
from gemini_backend.errors import Violation
from gemini_backend.models.names import short_name

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gemini.backend.v1.execute_service_pb2 import ExecuteRequest
    from gemini_backend.models.catalogue_schema import Capability, CatalogueEntry, Medium

_RULE = "model.capability"
_JSON = "application/json"
_SAMPLING: tuple[Literal["temperature", "top_p", "top_k"], ...] = ("temperature", "top_p", "top_k")
_TOOLS: tuple[tuple[str, Capability], ...] = (
    ("function_declarations", "function_calling"),
    ("google_search", "search_grounding"),
    ("code_execution", "code_execution"),
    ("url_context", "url_context"),
)
_LEVEL = "THINKING_LEVEL_"
_KINDS: dict[str, Medium] = {
    "image": "image",
    "audio": "audio",
    "video": "video",
    "application/pdf": "document",
}


def unfulfilled(request: ExecuteRequest, entry: CatalogueEntry) -> list[Violation]:
    """Return what a model cannot do of a request, each with its field and the remedy."""
    found = [
        Violation(field, f"{short_name(entry.name)} {words}", _RULE)
        for field, words in _wishes(request, entry)
    ]
    return list(dict.fromkeys(found))


def ignored(request: ExecuteRequest, entry: CatalogueEntry) -> list[str]:
    """Return the fields of a request that its model passes over."""
    if not request.HasField("generation_config") or not entry.lacks("sampling_parameters"):
        return []
    config = request.generation_config
    return [f"generation_config.{name}" for name in _SAMPLING if config.HasField(name)]


def too_long(request: ExecuteRequest, entry: CatalogueEntry, most: int) -> list[Violation]:
    """Return what is wrong with a limit of output tokens above what the model gives in all."""
    if not most or request.generation_config.max_output_tokens <= most:
        return []
    words = (
        f"{short_name(entry.name)} generates at most {most} tokens; set a lower value, or omit it"
    )
    return [Violation("generation_config.max_output_tokens", words, _RULE)]


def _wishes(request: ExecuteRequest, entry: CatalogueEntry) -> Iterator[tuple[str, str]]:
    if entry.lacks("generate_content"):
        yield "model", "does not generate text; use a model that does"
        return
    for place, tool in enumerate(request.tools):
        for name, capability in _TOOLS:
            used = bool(getattr(tool, name)) if name == _TOOLS[0][0] else tool.HasField(name)  # type: ignore[arg-type]
            if used and entry.lacks(capability):
                yield (
                    f"tools[{place}].{name}",
                    "does not support this tool; omit it",
                )
    if request.HasField("system_instruction") and entry.lacks("system_instruction"):
        yield "system_instruction", "does not support it; put it into the first turn"
    if request.cached_content and entry.lacks("context_caching"):
        yield "cached_content", "does not support context caching; send the content itself"
    if request.HasField("generation_config"):
        yield from _settings(request, entry)
    yield from _media(request, entry)


def _settings(request: ExecuteRequest, entry: CatalogueEntry) -> Iterator[tuple[str, str]]:
    config = request.generation_config
    where = "generation_config"
    json = config.response_mime_type.partition(";")[0].strip() == _JSON
    schema = [
        name
        for name in ("response_schema", "response_json_schema", "response_json_schema_text")
        if config.HasField(name)
    ]
    if json and entry.lacks("json_mode"):
        yield (
            f"{where}.response_mime_type",
            "does not support JSON answers; ask for JSON in the prompt",
        )
    if schema and entry.lacks("json_schema"):
        yield f"{where}.{schema[0]}", "does not support schemas; omit it or use another model"
    if json and _forced(request) and not entry.lacks("function_calling"):
        yield (
            "tool_config.function_calling_config.mode",
            "cannot be forced to call a function and to answer in JSON; use only one of them",
        )
    if config.response_logprobs and entry.lacks("logprobs"):
        yield f"{where}.response_logprobs", "does not return log probabilities; omit it"
    if config.candidate_count > 1 and entry.lacks("multiple_candidates"):
        yield f"{where}.candidate_count", "returns only one candidate; send several requests"
    for name in ("presence_penalty", "frequency_penalty"):
        if getattr(config, name) and entry.lacks("penalties"):
            yield f"{where}.{name}", "does not support penalties; omit it"
    if config.HasField("thinking_config"):
        yield from _thinking(config.thinking_config, entry)


def _thinking(config: content.ThinkingConfig, entry: CatalogueEntry) -> Iterator[tuple[str, str]]:
    where = "generation_config.thinking_config"
    level = _level(config)
    if config.thinking_level and config.HasField("thinking_budget"):
        yield f"{where}.thinking_budget", "accepts a level or a budget, not both; omit one of them"
    if entry.thinking is None:
        return
    levels = entry.thinking.levels
    steered = levels or entry.thinking.max_budget is not None
    if level and steered and level not in levels:
        remedy = f"one of {', '.join(levels)}" if levels else "thinking_budget"
        yield f"{where}.thinking_level", f"does not think at level {level}; set {remedy}"
    low, high = entry.thinking.min_budget, entry.thinking.max_budget
    budget = config.thinking_budget
    if low is not None and high is not None and budget > 0 and not low <= budget <= high:
        yield (
            f"{where}.thinking_budget",
            f"accepts a budget from {low} to {high} tokens; set one in this range",
        )
    if config.HasField("thinking_budget") and not budget and not entry.thinking.can_be_disabled:
        yield f"{where}.thinking_budget", "cannot disable thinking; set more than 0"


def _level(config: content.ThinkingConfig) -> str:
    """Return the level that is asked for, as the catalogue names it; empty for none."""
    if config.thinking_level_raw:
        return config.thinking_level_raw.lower()
    known = content.ThinkingLevel.DESCRIPTOR.values_by_number.get(config.thinking_level)
    return known.name.removeprefix(_LEVEL).lower() if known and known.number else ""


def _media(request: ExecuteRequest, entry: CatalogueEntry) -> Iterator[tuple[str, str]]:
    if not any(entry.lacks(kind) for kind in _KINDS.values()):
        return  # a request may have many thousand parts
    for turn, said in enumerate(request.contents):
        for place, part in enumerate(said.parts):
            if part.HasField("inline_data"):
                field, mime = "inline_data", part.inline_data.mime_type
            elif part.HasField("file_data"):
                field, mime = "file_data", part.file_data.mime_type
            else:
                continue
            kind = _KINDS.get(mime) or _KINDS.get(mime.partition("/")[0])
            if kind is not None and entry.lacks(kind):
                yield f"contents[{turn}].parts[{place}].{field}", f"does not accept {kind}; omit it"


def _forced(request: ExecuteRequest) -> bool:
    mode = request.tool_config.function_calling_config.mode
    return mode == content.FUNCTION_CALLING_MODE_ANY and any(
        tool.function_declarations for tool in request.tools
    )
