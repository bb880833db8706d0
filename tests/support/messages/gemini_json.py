"""Gemini's JSON out of the contract's messages, and requests of the contract out of Gemini's JSON.

Written apart from the server's own translation, so that the two can check each other.
"""

from __future__ import annotations

import base64
import json
import re
from typing import TYPE_CHECKING, Any

from google.protobuf import json_format
from google.protobuf.duration_pb2 import Duration
from google.protobuf.struct_pb2 import Struct, Value
from google.protobuf.timestamp_pb2 import Timestamp

from gemini.backend.v1 import content_pb2 as content
from gemini.backend.v1 import execute_service_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import Iterable

    from google.protobuf.descriptor import Descriptor, FieldDescriptor
    from google.protobuf.message import Message

    from gemini.backend.v1.error_details_pb2 import ExecutionFailure, UpstreamFailure
    from gemini_backend.errors import ServiceError

# Words of these carry their type on the wire, too; those of all other enums do not.
_TYPED_WORDS = {
    "HARM_CATEGORY_": "HARM_CATEGORY_",
    "MEDIA_RESOLUTION_": "MEDIA_RESOLUTION_",
    "HARM_SEVERITY_": "HARM_SEVERITY_",
    "URL_RETRIEVAL_STATUS_": "URL_RETRIEVAL_STATUS_",
    "CODE_OUTCOME_": "OUTCOME_",
    "COMPUTER_ENVIRONMENT_": "ENVIRONMENT_",
}
_PATH = re.compile(r"_([a-z])")


def camel(name: str) -> str:
    """Return a name in camel case."""
    return _PATH.sub(lambda match: match[1].upper(), name)


def plain(struct: Message) -> Any:
    """Return a Struct or Value as JSON, whole numbers without a point."""
    return _whole(json_format.MessageToDict(struct))


def _whole(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _whole(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_whole(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _word(field: FieldDescriptor, number: int) -> str:
    name: str = field.enum_type.values_by_number[number].name
    own = field.enum_type.values_by_number[0].name.removesuffix("UNSPECIFIED")
    word = _TYPED_WORDS.get(own, "") + name.removeprefix(own)
    return word.lower() if own == "SERVICE_TIER_" else word


def _one(field: FieldDescriptor, value: Any) -> Any:
    if field.enum_type is not None:
        return _word(field, value)
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, Struct | Value):
        return plain(value)
    if isinstance(value, Duration):
        return f"{(value.seconds + value.nanos / 1e9):g}s"
    if isinstance(value, Timestamp):
        return value.ToJsonString()
    return of_message(value) if field.message_type is not None else value


def of_message(message: Message, *leave_out: str) -> dict[str, Any]:
    """Return Gemini's JSON of one message."""
    found: dict[str, Any] = {}
    for field, value in message.ListFields():
        name = field.name
        if name in leave_out or name in {"extra", "extra_json"}:
            continue
        key = camel(name.removesuffix("_raw"))
        if name.startswith("media_resolution") and message.DESCRIPTOR.name == "Part":
            inner = "numTokens" if name.endswith("_tokens") else "level"
            found.setdefault("mediaResolution", {})[inner] = _one(field, value)
        elif name.endswith("_json"):
            found[camel(name.removesuffix("_json"))] = exact(message, name.removesuffix("_json"))
        else:
            found[key] = (
                [_one(field, v) for v in value] if field.is_repeated else _one(field, value)
            )
    found.update(exact(message, "extra"))
    return found


def exact(message: Message, name: str) -> dict[str, Any]:
    """Return an object of any JSON by its exact text, after a look at its Struct beside it."""
    text = getattr(message, f"{name}_json", "")
    if not text:
        return plain(getattr(message, name)) if message.HasField(name) else {}
    value: dict[str, Any] = json.loads(text)
    if message.HasField(name):
        assert rounded(value) == json_format.MessageToDict(getattr(message, name))
    return value


def rounded(value: Any) -> Any:
    """Return JSON as a Struct holds it: every number as a double, or as text beyond its range."""
    if isinstance(value, dict):
        return {key: rounded(item) for key, item in value.items()}
    if isinstance(value, list):
        return [rounded(item) for item in value]
    if isinstance(value, bool) or not isinstance(value, int | float):
        return value
    return str(value) if abs(value) >= 2**1000 else float(value)


def _head(started: pb.Started) -> dict[str, Any]:
    found: dict[str, Any] = {
        "modelVersion": started.model_version,
        "responseId": started.response_id,
    }
    if started.HasField("create_time"):
        found["createTime"] = started.create_time.ToJsonString()
    if started.HasField("prompt_feedback"):
        found["promptFeedback"] = of_message(started.prompt_feedback)
    return {key: value for key, value in found.items() if value != ""}


def of_process(response: pb.ProcessResponse) -> dict[str, Any]:
    """Return the body of generateContent that a whole answer was made of."""
    found = _head(response.started)
    if response.candidates:
        found["candidates"] = [of_message(candidate) for candidate in response.candidates]
    if response.HasField("prompt_feedback"):
        found["promptFeedback"] = of_message(response.prompt_feedback)
    if response.HasField("usage"):
        found["usageMetadata"] = of_message(response.usage, "quality")
    found.update(exact(response, "extra"))
    return found


def of_failure(error: ServiceError) -> dict[str, Any]:
    """Return the body of an answer that was blocked or empty."""
    assert error.failure is not None
    assert error.upstream is not None
    return of_unusable(error.failure, dict(error.upstream.extra))


def of_unusable(failure: ExecutionFailure, extra: dict[str, Any]) -> dict[str, Any]:
    """Return the body of an answer that was blocked or empty, `extra` as it came beside it."""
    found = dict(extra)
    if failure.candidates:
        found["candidates"] = [of_message(candidate) for candidate in failure.candidates]
    if failure.HasField("prompt_feedback"):
        found["promptFeedback"] = of_message(failure.prompt_feedback)
    if failure.HasField("usage"):
        found["usageMetadata"] = of_message(failure.usage, "quality")
    return found


def of_refusal(error: ServiceError) -> dict[str, Any]:
    """Return the error body that a failure was made of."""
    reply = error.upstream
    assert reply is not None
    found = {"code": reply.code, "message": reply.message, "status": reply.status}
    if reply.details:
        found["details"] = [dict(detail) for detail in reply.details]
    return {"error": {**{k: v for k, v in found.items() if v}, **reply.extra}}


def of_upstream_failure(failure: UpstreamFailure) -> dict[str, Any]:
    """Return the error body that a status was made of."""
    return {"error": of_message(failure, "http_status")}


def of_stream(events: Iterable[pb.ExecuteResponse]) -> list[dict[str, Any]]:
    """Return the events of streamGenerateContent that a stream was made of."""
    head: dict[str, Any] = {}
    feedback: dict[str, Any] = {}
    found: dict[int, dict[str, Any]] = {}
    for event in events:
        match event.WhichOneof("event"):
            case "started":
                head = _head(event.started)
                if "promptFeedback" in head:
                    feedback = {"promptFeedback": head.pop("promptFeedback")}
            case "usage":
                found[max(found, default=0) + 1] = {
                    **head,
                    "usageMetadata": of_message(event.usage),
                }
            case "delta":
                _add(found.setdefault(event.delta.upstream_event, dict(head)), event.delta)
    ordered = [found[number] for number in sorted(found)]
    if ordered:
        ordered[0] = {**ordered[0], **feedback}
    return ordered


def _add(found: dict[str, Any], delta: pb.Delta) -> None:
    if delta.HasField("usage"):
        found["usageMetadata"] = of_message(delta.usage)
    if delta.model_version:
        found["modelVersion"] = delta.model_version
    found.update(exact(delta, "response_extra"))
    candidate = of_message(
        delta,
        "candidate_index",
        "parts",
        "role",
        "usage",
        "upstream_event",
        "model_version",
        "response_extra",
        "response_extra_json",
    )
    if delta.HasField("candidate_index"):
        candidate["index"] = delta.candidate_index
    turn = of_message(
        content.Content(parts=delta.parts, role=delta.role if delta.HasField("role") else None)
    )
    extra = candidate.pop("content", None)
    if isinstance(extra, dict):
        turn.update(extra)
    if turn or extra == {}:
        candidate["content"] = turn
    if candidate or delta.parts:
        found.setdefault("candidates", []).append(candidate)


# --- requests


def normal(message: Descriptor, value: dict[str, Any]) -> dict[str, Any]:
    """Return Gemini's JSON of a request in one of the several ways in which it can be written.

    Camel case throughout, base64 in the standard alphabet, and no empty texts or lists where they
    mean the same as none.
    """
    fields = {field.camelcase_name: field for field in message.fields}
    found = {}
    for name, item in value.items():
        key = camel(name)
        field = fields.get(key)
        if field is not None and not field.has_presence and item in ("", []):
            continue
        found[key if field else name] = item if field is None else _normal_field(field, item)
    return found


def _normal_field(field: FieldDescriptor, item: Any) -> Any:
    if field.is_repeated and isinstance(item, list) and field.message_type is not None:
        return [_normal_one(field, one) for one in item]
    return _normal_one(field, item)


def _normal_one(field: FieldDescriptor, item: Any) -> Any:
    inner = field.message_type
    if field.type == field.TYPE_BYTES and isinstance(item, str):
        return base64.b64encode(_decoded(item)).decode()
    if inner is not None and inner.file.package != "google.protobuf" and isinstance(item, dict):
        return normal(inner, item)
    return item


def _decoded(text: str) -> bytes:
    padded = text + "=" * (-len(text) % 4)
    return base64.b64decode(padded.replace("-", "+").replace("_", "/"))


def execute_request(body: dict[str, Any], model: str) -> pb.ExecuteRequest:
    """Return the request of the contract that says what a body of generateContent says.

    Names may be in snake or camel case. `labels`, which the contract has for its own books, and
    whatever it has no name for go to `extra`.
    """
    body = normal(pb.ExecuteRequest.DESCRIPTOR, body)
    labels = body.pop("labels", None)
    request = pb.ExecuteRequest(model=model, **_arguments(pb.ExecuteRequest.DESCRIPTOR, body))
    if labels:
        request.extra["labels"] = labels
    return request


def count_request(body: dict[str, Any], model: str) -> pb.CountTokensRequest:
    """Return the request of the contract that says what a body of countTokens says."""
    body = body.get("generateContentRequest", body)
    body = normal(pb.ExecuteRequest.DESCRIPTOR, {k: v for k, v in body.items() if k != "model"})
    return pb.CountTokensRequest(model=model, **_arguments(pb.CountTokensRequest.DESCRIPTOR, body))


def _arguments(message: Descriptor, body: dict[str, Any]) -> dict[str, Any]:
    fields = {field.camelcase_name: field for field in message.fields if "extra" not in field.name}
    found: dict[str, Any] = {}
    extra = {}
    for key, item in body.items():
        field = fields.get(key)
        if field is None:
            extra[key] = item
        elif key == "mediaResolution" and message.name == "Part":
            found[field.name] = _argument(field, item["level"])
        elif field.enum_type is not None and not field.is_repeated and not _known(field, item):
            found[f"{field.name}_raw"] = item
        elif field.is_repeated:
            found[field.name] = [_argument(field, one) for one in item]
        else:
            found[field.name] = _argument(field, item)
    if extra:
        found["extra"] = extra
    return found


def _known(field: FieldDescriptor, word: str) -> bool:
    return any(_word(field, value.number) == word for value in field.enum_type.values)


def _argument(field: FieldDescriptor, item: Any) -> Any:
    inner = field.message_type
    if field.enum_type is not None:
        words = {_word(field, value.number): value.number for value in field.enum_type.values}
        return words[item]
    if field.type == field.TYPE_BYTES:
        return base64.b64decode(item)
    if field.type == field.TYPE_INT32:
        return int(item)
    if inner is None or inner.name == "Struct":
        return item
    if inner.name == "Value":
        value = Value()
        json_format.ParseDict(item, value)
        return value
    return _arguments(inner, item)
