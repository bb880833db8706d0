"""Nothing invalid goes further."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, cast

import pytest

from gemini.backend.v1 import execute_service_pb2 as pb
from gemini.backend.v1.content_pb2 import Blob, Content, FileData, GenerationConfig, Part, Tool
from gemini_backend.errors import InvalidRequest
from gemini_backend.policies.checks.validate import Validate
from gemini_backend.policies.relay import Run
from tests.support.messages.calls import make_call

if TYPE_CHECKING:
    from tests.support.clock import FakeClock

VALIDATE = Validate()
PROJECT = "projects/p-1/locations/us-central1"


def fields(request: Any) -> list[str]:
    """Return the paths of all violations; empty if the request is taken."""
    try:
        VALIDATE.check(request)
    except InvalidRequest as failed:
        return [violation.field for violation in failed.violations]
    return []


def say(**rest: Any) -> pb.ExecuteRequest:
    """Return a request that is valid but for `rest`."""
    return pb.ExecuteRequest(prompt="hello", **rest)


def part(**data: Any) -> pb.ExecuteRequest:
    """Return a request of one part."""
    return pb.ExecuteRequest(contents=[Content(role="user", parts=[Part(**data)])])


@pytest.mark.parametrize(
    "request_",
    [
        say(),
        say(model="gemini-flash-latest"),
        say(model="models/gemini-flash-latest"),
        say(model="publishers/google/models/gemini-3.5-flash"),
        say(model=f"{PROJECT}/publishers/google/models/gemini-3.5-flash"),
        say(model=f"{PROJECT}/endpoints/1"),
        say(cached_content="cachedContents/c"),
        say(cached_content=f"{PROJECT}/cachedContents/1"),
        say(fallback=pb.Fallback(models=["m", "tunedModels/t", f"{PROJECT}/endpoints/1"])),
        pb.CountTokensRequest(prompt="x", model="tunedModels/t", cached_content="cachedContents/c"),
        pb.CountTokensRequest(session="sessions/s"),
        pb.EmbedRequest(contents=[Content(parts=[Part(text="x")])], model=f"{PROJECT}/endpoints/1"),
        pb.ExecuteCodeRequest(instruction="x", model="tunedModels/t"),
        say(generation_config=GenerationConfig(temperature=0, max_output_tokens=1)),
        part(text=""),
        part(inline_data=Blob(mime_type="image/png", data=b"x")),
        part(file_data=FileData(file_uri="https://example.com/a.pdf")),
        pb.ExecuteRequest(resume=pb.Resume(execution="executions/e", after_sequence=0)),
        "no message, but an iterator of them",
    ],
)
def test_what_is_valid_passes(request_: Any) -> None:
    """Valid requests raise nothing."""
    assert [] == fields(request_)


@pytest.mark.parametrize(
    ("request_", "path"),
    [
        (pb.ExecuteRequest(), ""),
        (pb.ExecuteRequest(prompt="x", contents=[Content(parts=[Part(text="y")])]), ""),
        (pb.ExecuteRequest(prompt=" \n\t "), "prompt"),
        (pb.CountTokensRequest(), ""),
        (pb.CountTokensRequest(prompt="x", contents=[Content(parts=[Part(text="y")])]), ""),
        (pb.ExecuteRequest(contents=[Content(role="user")]), "contents[0].parts"),
        (say(model="no such/name!"), "model"),
        (say(generation_config=GenerationConfig(max_output_tokens=-1)), "generation_config.max_output_tokens"),
        (say(generation_config=GenerationConfig(temperature=2.1)), "generation_config.temperature"),
        (say(generation_config=GenerationConfig(candidate_count=9)), "generation_config.candidate_count"),
        (say(generation_config=GenerationConfig(stop_sequences=[""])), "generation_config.stop_sequences[0]"),
        (say(max_cost_nano_usd=-1), "max_cost_nano_usd"),
        (say(fallback=pb.Fallback(conditions=[77])), "fallback.conditions[0]"),  # type: ignore[list-item]
        (say(labels={"Bad": "x"}), "labels[Bad]"),
        (say(tools=[Tool(function_declarations=[{"name": "1x"}])]), "tools[0].function_declarations[0].name"),
        (part(inline_data=Blob(mime_type="png", data=b"x")), "contents[0].parts[0].inline_data.mime_type"),
        (part(inline_data=Blob(mime_type="image/png")), "contents[0].parts[0].inline_data.data"),
        (pb.ExecuteRequest(contents=[Content(parts=[Part(text="x")] * 10_000)]), "contents[0].parts"),
    ],
)  # fmt: skip
def test_what_is_invalid_is_named_by_its_field(request_: Any, path: str) -> None:
    """A broken rule names the field, with indices; a rule on the whole message names none."""
    assert [path] == fields(request_)


@pytest.mark.parametrize(("size", "shown"), [(64, "A" * 64), (4000, f"{'A' * 63}…")])
def test_the_key_of_a_map_is_shown_in_part(size: int, shown: str) -> None:
    """A path is no longer than anyone reads, whatever key its caller has made up."""
    assert [f"labels[{shown}]"] == fields(say(labels={"A" * size: "v"}))


def test_a_value_outside_of_its_type_is_a_violation() -> None:
    """A duration that protobuf can carry and no rule can read is the caller's mistake."""
    request = pb.ExecuteRequest()
    part = request.contents.add(role="user").parts.add(text="a")
    part.video_metadata.start_offset.seconds = 2**62
    part.video_metadata.end_offset.seconds = 1
    with pytest.raises(InvalidRequest, match="outside of the range of its type") as raised:
        Validate().check(request)
    assert ["value.range"] == [one.rule for one in raised.value.violations]


def test_all_violations_come_at_once() -> None:
    """A caller learns of everything that is wrong in one go."""
    config = GenerationConfig(temperature=9, top_p=9, top_k=0)
    assert [
        "model",
        "generation_config.temperature",
        "generation_config.top_p",
        "generation_config.top_k",
    ] == fields(say(model="!", generation_config=config))


def test_process_has_the_rules_and_the_bytes_of_execute() -> None:
    """ProcessRequest is ExecuteRequest without `resume`: same numbers, types and rules."""

    def shape(message: Any, name: str) -> dict[str, Any]:
        return {
            field.name: (
                field.number,
                field.type,
                field.is_repeated,
                field.GetOptions().SerializeToString(deterministic=True),
                (field.message_type.full_name if field.message_type else "").replace(name, ""),
            )
            for field in message.DESCRIPTOR.fields
            if field.name != "resume"
        }

    assert shape(pb.ExecuteRequest, "ExecuteRequest") == shape(pb.ProcessRequest, "ProcessRequest")


def test_what_is_known_to_be_valid_is_not_checked_again(clock: FakeClock) -> None:
    """The same request passes at once, and one with other words; a wrong one is checked."""
    checked: list[Any] = []
    validate = Validate()
    inner = validate._validator

    class Counting:
        def collect_violations(self, request: Any) -> Any:
            checked.append(request.prompt)
            return inner.collect_violations(request)

    validate._validator = cast("Any", Counting())
    for prompt in ("a", "a", "b", " c", " ", " "):
        with nullcontext() if prompt.strip() else pytest.raises(InvalidRequest):
            validate.begin(Run(make_call(clock), pb.ExecuteRequest(prompt=prompt), streams=False))
    assert ["a", " c", " ", " "] == checked
    with pytest.raises(InvalidRequest):
        validate.begin(
            Run(make_call(clock), pb.ExecuteRequest(prompt="a", model="//"), streams=False)
        )


def test_the_rules_of_a_type_are_its_own() -> None:
    """The same bytes as another message are another request."""
    validate = Validate()
    request = pb.ExecuteRequest(resume=pb.Resume(execution="executions/e1"))
    validate.check(request)
    with pytest.raises(InvalidRequest):
        validate.check(pb.ProcessRequest.FromString(request.SerializeToString()))
