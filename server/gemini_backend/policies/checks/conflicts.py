"""Fields of a request that exclude each other, or say nothing, beyond the rules in the protos.

Here are the rules that compare elements of lists, or that would cost too much for each part.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gemini.backend.v1 import execute_service_pb2 as pb
from gemini_backend.errors import Violation
from gemini_backend.models.names import full_name
from gemini_backend.sizes import KIB

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from gemini.backend.v1 import content_pb2 as content

_CONVERSATIONS = (pb.ExecuteRequest, pb.ProcessRequest, pb.CountTokensRequest)
_EXECUTIONS = (pb.ExecuteRequest, pb.ProcessRequest)
# A longer text is taken for one with something in it: to look would mean to copy it.
_SURELY_SOMETHING = 64 * KIB


def conflicts(request: Any) -> Iterator[Violation | None]:
    """Yield what contradicts itself in a request; nothing for messages of other kinds.

    None is a place to pause, for whoever looks through a large request.
    """
    kind = type(request)
    if kind is pb.ExecuteRequest and request.HasField("resume"):
        yield from _beside_resume(request)
    if kind in _CONVERSATIONS:
        yield from _conversation(request)
    elif kind is pb.EmbedRequest:
        for index, one in enumerate(request.contents):
            yield None
            yield from _twins(one, f"contents[{index}]")
            if one.parts and all(map(_says_nothing, one.parts)):
                words = "is blank; set a text, or a part of another kind, or omit the content"
                yield Violation(f"contents[{index}].parts", words, "content.blank")
    if kind in _EXECUTIONS and request.HasField("fallback"):
        yield from _fallback(request)


def _beside_resume(request: pb.ExecuteRequest) -> Iterator[Violation]:
    for field, _ in request.ListFields():
        if field.name != "resume":
            words = "cannot be set with resume, which continues an execution as it began; omit it"
            yield Violation(field.name, words, "resume.alone")


def _conversation(request: Any) -> Iterator[Violation | None]:
    for index, turn in enumerate(request.contents):
        yield None
        yield from _twins(turn, f"contents[{index}]")
    if request.HasField("system_instruction"):
        yield from _twins(request.system_instruction, "system_instruction")
    if request.tools:
        yield from _function_names(request.tools)
    if request.safety_settings:
        yield from _categories(request.safety_settings)
    if request.HasField("generation_config"):
        config = request.generation_config
        if config.logprobs and not config.response_logprobs:
            words = "needs response_logprobs; set it to true, or omit logprobs"
            yield Violation("generation_config.logprobs", words, "generation_config.logprobs")


def _twins(one: content.Content, path: str) -> Iterator[Violation]:
    for index, part in enumerate(one.parts):
        for name in ("media_resolution", "media_processing"):
            raw = f"{name}_raw"
            if getattr(part, raw) and getattr(part, name):
                words = f"cannot be set with {name}; set one of them"
                yield Violation(f"{path}.parts[{index}].{raw}", words, "part.twin")


def _says_nothing(part: content.Part) -> bool:
    """Tell whether a part is a blank text; what the contract does not know may say something."""
    if part.WhichOneof("data") not in {"text", None}:
        return False
    if part.extra_json or part.HasField("extra") or part.ByteSize() > _SURELY_SOMETHING:
        return False
    return not part.text.strip()


def _function_names(tools: Sequence[content.Tool]) -> Iterator[Violation | None]:
    seen: set[str] = set()
    for at, tool in enumerate(tools):
        yield None
        for index, one in enumerate(tool.function_declarations):
            if one.name in seen:
                path = f"tools[{at}].function_declarations[{index}].name"
                words = "is the name of an earlier function; give each its own name"
                yield Violation(path, words, "tools.function_names")
            seen.add(one.name)


def _categories(settings: Sequence[content.SafetySetting]) -> Iterator[Violation]:
    seen: set[int | str] = set()
    for index, one in enumerate(settings):
        category = one.category or one.category_raw
        if category and category in seen:
            words = "is the category of an earlier setting; set one threshold for each category"
            yield Violation(f"safety_settings[{index}].category", words, "safety_settings.once")
        seen.add(category)


def _fallback(request: Any) -> Iterator[Violation]:
    seen = {full_name(request.model)} if request.model else set()
    for index, name in enumerate(request.fallback.models):
        model = full_name(name)
        if model in seen:
            words = "is the model itself, or an earlier fallback; name another one"
            yield Violation(f"fallback.models[{index}]", words, "fallback.models")
        seen.add(model)
