"""Fields that exclude each other are refused by name, whichever of them would win."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from gemini.backend.v1 import content_pb2 as content
from gemini.backend.v1 import execute_service_pb2 as pb
from gemini.backend.v1 import session_service_pb2 as sessions
from gemini_backend.errors import InvalidRequest
from gemini_backend.policies.checks.validate import Validate

if TYPE_CHECKING:
    from google.protobuf.descriptor import Descriptor

VALIDATE = Validate()
CONVERSATIONS = (pb.ExecuteRequest, pb.ProcessRequest, pb.CountTokensRequest)
ROOTS = (*CONVERSATIONS, pb.EmbedRequest)
HIDDEN = {"Usage", "ModalityTokenCount"}  # in answers only
HI: dict[str, Any] = {"text": "hi"}
TURN: dict[str, Any] = {"role": "user", "parts": [HI]}


def broken(request: Any) -> list[tuple[str, str]]:
    """Return path and words of each violation."""
    try:
        VALIDATE.check(request)
    except InvalidRequest as failed:
        return [(one.field, one.description) for one in failed.violations]
    return []


def paths(request: Any) -> list[str]:
    """Return the path of each violation."""
    return [path for path, _ in broken(request)]


def twins() -> list[tuple[str, Descriptor, str]]:
    """Return every enum with a `_raw` twin that a request can have, with the way to it."""
    found: list[tuple[str, Descriptor, str]] = []
    for root in ROOTS:
        seen: set[str] = set()
        ahead: list[tuple[str, Descriptor]] = [("", root.DESCRIPTOR)]
        while ahead:
            way, message = ahead.pop(0)
            if message.full_name in seen or message.file.package == "google.protobuf":
                continue
            seen.add(message.full_name)
            names = message.fields_by_name
            found += [
                (f"{root.__name__}:{way}", message, name)
                for name in names
                if f"{name}_raw" in names and message.name not in HIDDEN
            ]
            ahead += [(f"{way}.{f.name}", f.message_type) for f in message.fields if f.message_type]
    return found


def at(way: str, twin: dict[str, Any]) -> Any:
    """Return a request that has `twin` at the end of the way to it."""
    root, _, steps = way.partition(":")
    made = getattr(pb, root)()
    made.MergeFrom(
        pb.EmbedRequest(contents=[TURN])
        if root == "EmbedRequest"
        else type(made)(**({} if ".contents" in steps else {"prompt": "hi"}))
    )
    message = made
    for step in filter(None, steps.split(".")):
        field = message.DESCRIPTOR.fields_by_name[step]
        value = getattr(message, step)
        if field.is_repeated:
            message = value[0] if len(value) else value.add()
        else:
            value.SetInParent()
            message = value
    for name, value in twin.items():
        setattr(message, name, value)
    return made


@pytest.mark.parametrize(
    ("way", "message", "name"), [pytest.param(*one, id=f"{one[0]}.{one[2]}") for one in twins()]
)
def test_an_enum_and_its_raw_twin_exclude_each_other(
    way: str, message: Descriptor, name: str
) -> None:
    """Wherever the contract has such a pair; each of the two alone is no conflict."""
    kind = message.fields_by_name[name].enum_type
    number = next(value.number for value in kind.values if value.number)
    both, raw = at(way, {name: number, f"{name}_raw": "X"}), at(way, {f"{name}_raw": "X"})
    told = [words for path, words in broken(both) if f"{name}_raw" in f"{path} {words}"]
    assert 1 == len(told), broken(both)
    assert [] == [words for path, words in broken(raw) if f"{name}_raw" in f"{path} {words}"]


def test_there_are_twins_everywhere() -> None:
    """The walk finds the pairs of parts, of settings and of requests themselves."""
    found = {f"{way}.{name}" for way, _, name in twins()}
    assert {
        "ExecuteRequest:.contents.parts.media_resolution",
        "CountTokensRequest:.safety_settings.category",
        "ExecuteRequest:.service_tier",
        "EmbedRequest:.task_type",
    } <= found


RESUME: dict[str, Any] = {"execution": "executions/e"}


def test_resume_stands_alone() -> None:
    """Each other field is named, whatever it is."""
    values: dict[str, Any] = {
        "model": "m",
        "session": "sessions/s",
        "generation_config": {"temperature": 1},
        "priority": pb.PRIORITY_BATCH,
        "labels": {"a": "b"},
        "request_id": "r",
        "on_disconnect": {"mode": pb.DISCONNECT_MODE_KEEP},
        "max_event_bytes": 100_000,
        "store": False,
        "extra_json": "{}",
    }
    request = pb.ExecuteRequest(resume=RESUME, **values)
    assert sorted(values) == sorted(paths(request))
    assert [] == paths(pb.ExecuteRequest(resume=RESUME))


def test_every_field_is_refused_beside_resume() -> None:
    """No field of the request, now or later, is passed over silently."""
    for field in pb.ExecuteRequest.DESCRIPTOR.fields:
        if field.name == "resume":
            continue
        request = pb.ExecuteRequest(resume=RESUME)
        value = getattr(request, field.name)
        if field.message_type and field.message_type.GetOptions().map_entry:
            value["a"] = "b"
        elif field.is_repeated:
            value.add()
        elif field.message_type:
            value.SetInParent()
        else:
            kind = field.cpp_type
            setattr(request, field.name, {9: b"x" if field.type == 12 else "x"}.get(kind, 1))
        assert field.name in paths(request)


def say(**fields: Any) -> list[pb.ExecuteRequest | pb.ProcessRequest]:
    """Return an execution of each kind that is valid but for the fields."""
    return [kind(prompt="hi", **fields) for kind in (pb.ExecuteRequest, pb.ProcessRequest)]


def config(**fields: Any) -> list[Any]:
    """Return each kind of request with a generation config."""
    return [kind(prompt="hi", generation_config=fields) for kind in CONVERSATIONS]


def part(**fields: Any) -> list[Any]:
    """Return each kind of request with one part beside a text."""
    turn = {"role": "user", "parts": [HI, fields]}
    return [kind(contents=[turn]) for kind in CONVERSATIONS]


def video(start: int, end: int) -> dict[str, Any]:
    """Return offsets of a video, or of a sound."""
    return {"start_offset": {"seconds": start}, "end_offset": {"seconds": end}}


FILE = {"file_uri": "https://example.com/a"}
CANCEL, DRAIN, KEEP = 1, 2, 3
BYPASS, ONLY_IF_CACHED = 2, 4
ANY, NONE = content.FUNCTION_CALLING_MODE_ANY, content.FUNCTION_CALLING_MODE_NONE
HATE = content.HARM_CATEGORY_HATE_SPEECH
MINUTE = {"seconds": 60}
FUNCTION = {"name": "f"}
EMBED = pb.EmbedRequest


def calling(**fields: Any) -> list[Any]:
    """Return executions with a function and settings for calling it."""
    tools = [{"function_declarations": [FUNCTION]}]
    return say(tools=tools, tool_config={"function_calling_config": fields})


@pytest.mark.parametrize(
    ("requests", "expected"),
    [
        (say(on_disconnect={"drain_max_tokens": 5}), ["on_disconnect"]),
        (say(on_disconnect={"mode": CANCEL, "drain_max_tokens": 5}), ["on_disconnect"]),
        (say(on_disconnect={"mode": KEEP, "drain_max_tokens": 5}), ["on_disconnect"]),
        (say(on_disconnect={"mode": DRAIN, "drain_max_tokens": 5}), []),
        (say(on_disconnect={"grace_period": MINUTE}), ["on_disconnect"]),
        (say(on_disconnect={"mode": CANCEL, "grace_period": MINUTE}), ["on_disconnect"]),
        (say(on_disconnect={"mode": DRAIN, "grace_period": MINUTE}), ["on_disconnect"]),
        (say(on_disconnect={"mode": KEEP, "grace_period": MINUTE}), []),
        (say(cache_control={"mode": BYPASS, "ttl": MINUTE}), ["cache_control"]),
        (say(cache_control={"mode": BYPASS, "replay_interval": {"nanos": 1}}), ["cache_control"]),
        (say(cache_control={"mode": BYPASS, "cache_namespace": "n"}), []),
        (say(cache_control={"mode": ONLY_IF_CACHED, "ttl": MINUTE}), []),
        (say(model="m", fallback={"models": ["models/m"]}), ["fallback.models[0]"]),
        (say(model="m", fallback={"models": ["a", "b", "models/a"]}), ["fallback.models[2]"]),
        (say(fallback={"models": ["a"], "conditions": [0]}), ["fallback.conditions[0]"]),
        (say(model="m", fallback={"models": ["a", "b"], "conditions": [1]}), []),
        (say(tool_config={"retrieval_config": {"latitude": 0}}), ["tool_config.retrieval_config"]),
        (say(tool_config={"retrieval_config": {"longitude": 0}}), ["tool_config.retrieval_config"]),
        (say(tool_config={"retrieval_config": {"latitude": 0, "longitude": 0}}), []),
        (
            say(tool_config={"retrieval_config": {"latitude": 91, "longitude": 181}}),
            ["tool_config.retrieval_config.latitude", "tool_config.retrieval_config.longitude"],
        ),
        (
            config(speech_config={"voice_name": "A", "speaker_voices": [{"speaker": "S"}]}),
            ["generation_config.speech_config"],
        ),
        (
            config(speech_config={"voice_name": "A", "custom_voice": "B"}),
            ["generation_config.speech_config"],
        ),
        (
            config(speech_config={"custom_voice": "B", "replicated_voice": {}}),
            ["generation_config.speech_config"],
        ),
        (config(speech_config={"voice_name": "A", "language_code": "en-US"}), []),
        (
            config(
                speech_config={
                    "speaker_voices": [{"speaker": "S", "voice_name": "A", "custom_voice": "B"}]
                }
            ),
            ["generation_config.speech_config.speaker_voices[0]"],
        ),
        (config(logprobs=3), ["generation_config.logprobs"]),
        (config(logprobs=3, response_logprobs=True), []),
        (
            config(thinking_config={"thinking_budget": 5, "thinking_level_raw": "X"}),
            ["generation_config.thinking_config"],
        ),
        (
            calling(allowed_function_names=["f"]),
            ["tool_config.function_calling_config"],
        ),
        (
            calling(mode=NONE, allowed_function_names=["f"]),
            ["tool_config.function_calling_config"],
        ),
        (calling(mode=ANY, allowed_function_names=["f"]), []),
        (calling(mode_raw="NEW", allowed_function_names=["f"]), []),
        (
            say(tools=[{"function_declarations": [FUNCTION, FUNCTION]}]),
            ["tools[0].function_declarations[1].name"],
        ),
        (
            say(tools=[{"function_declarations": [FUNCTION]}] * 2),
            ["tools[1].function_declarations[0].name"],
        ),
        (
            [
                kind(prompt="hi", safety_settings=[{"category": HATE}, {"category": HATE}])
                for kind in CONVERSATIONS
            ],
            ["safety_settings[1].category"],
        ),
        (
            say(safety_settings=[{"category_raw": "X"}, {"category_raw": "X"}]),
            ["safety_settings[1].category"],
        ),
        (say(safety_settings=[{"category": HATE}, {"category_raw": "X"}]), []),
        (
            part(file_data=FILE, video_metadata=video(2, 1)),
            ["contents[0].parts[1].video_metadata"],
        ),
        (part(file_data=FILE, video_metadata=video(1, 2)), []),
        (
            part(file_data=FILE, audio_metadata=video(2, 1)),
            ["contents[0].parts[1].audio_metadata"],
        ),
        (
            part(file_data=FILE, document_metadata={"start_page": 3, "end_page": 2}),
            ["contents[0].parts[1].document_metadata"],
        ),
        (
            say(tools=[{"google_search": {"time_range_filter": {
                "start_time": {"seconds": 2}, "end_time": {"seconds": 1}}}}]),
            ["tools[0].google_search.time_range_filter"],
        ),
    ],
)  # fmt: skip
def test_what_excludes_each_other_is_refused(requests: list[Any], expected: list[str]) -> None:
    """In a stream, in a whole answer and in a count alike, by the field or the message it is in."""
    assert [expected] * len(requests) == [paths(request) for request in requests]


@pytest.mark.parametrize("kind", CONVERSATIONS)
@pytest.mark.parametrize("blank", [" ", "\n\t", "\u00a0\u3000"])
def test_a_blank_prompt_is_refused(kind: Any, blank: str) -> None:
    """A prompt of white space says nothing, whoever it is for."""
    ((path, words),) = broken(kind(prompt=blank))
    assert ("prompt", True) == (path, words.startswith("is blank"))


@pytest.mark.parametrize("parts", [[{"text": " "}], [{"text": ""}, {"text": "\n"}], [{}]])
def test_a_blank_text_has_no_vector(parts: list[dict[str, Any]]) -> None:
    """One blank content of several is named; something beside a blank text is enough."""
    blank = {"parts": parts}
    assert ["contents[1].parts"] == paths(EMBED(contents=[TURN, blank]))
    blob = {"inline_data": {"mime_type": "image/png", "data": b"x"}}
    for more in ({"text": "x"}, blob, {"extra_json": '{"new":1}'}):
        assert [] == paths(EMBED(contents=[{"parts": [*parts, more]}]))


NAMES = ["..", ".", "...", ".a", "a.", "a/b", "a%2Fb", "a b", "a\n", "\u00e4", "a" * 129, "a\x00"]
GOOD = ["a", "A-1", "_a", "-a-", "a.b", "a..b", "a" * 128]


@pytest.mark.parametrize("name", NAMES)
def test_ids_are_names_and_no_paths(name: str) -> None:
    """Dots stand within an id only; no slash, space, escape, control or other character."""
    sessions_ = [
        sessions.GetSessionRequest(name=f"sessions/{name}"),
        sessions.DeleteSessionRequest(name=f"sessions/{name}"),
        sessions.ExportSessionRequest(name=f"sessions/{name}"),
    ]
    assert [["name"]] * 3 == [paths(one) for one in sessions_]
    assert ["session_id"] == paths(sessions.CreateSessionRequest(session_id=name))
    for kind in CONVERSATIONS:
        assert ["session"] == paths(kind(prompt="hi", session=f"sessions/{name}"))
    resumed = pb.ExecuteRequest(resume={"execution": f"executions/{name}"})
    assert ["resume.execution"] == paths(resumed)
    for one in say(cache_control={"cache_namespace": name}):
        assert ["cache_control.cache_namespace"] == paths(one)


@pytest.mark.parametrize("name", GOOD)
def test_usual_ids_are_taken(name: str) -> None:
    """Ids as programs make them, such as UUIDs and URL-safe base64."""
    assert [] == paths(sessions.CreateSessionRequest(session_id=name))
    assert [] == paths(sessions.GetSessionRequest(name=f"sessions/{name}"))
    assert [] == paths(pb.ExecuteRequest(prompt="hi", session=f"sessions/{name}"))
