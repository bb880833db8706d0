"""Counts of tokens as Gemini reports them, in whatever form they come.

A count is a whole number from 0 to 2^31 - 1. It may come as `55`, `55.0` or `"55"`, under its name
in camel or snake case, and an answer's counts under the names that they have on live connections.
Anything else, a negative number too, is no count: it stays in `extra`, where every form but the
first is kept as it came, and the count is not known from there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from gemini.backend.v1 import content_pb2 as pb
from gemini_backend import masking
from gemini_backend.upstream.gemini.translation import (
    MODALITIES,
    SERVICE_TIERS,
    TRAFFIC_TYPES,
    free_json,
    json_to_proto,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from gemini_backend.upstream.gemini.translation import wire

Fields = dict[str, Any]

MOST: Final = 2**31 - 1
"""The largest count that the contract carries."""

COUNTS: Final = (
    "prompt_token_count",
    "candidates_token_count",
    "thoughts_token_count",
    "tool_use_prompt_token_count",
    "cached_content_token_count",
    "total_token_count",
)
DETAILS: Final = (
    "prompt_tokens_details",
    "candidates_tokens_details",
    "tool_use_prompt_tokens_details",
    "cache_tokens_details",
)
_OTHERS: Mapping[str, str] = {
    "response_token_count": "candidates_token_count",
    "response_tokens_details": "candidates_tokens_details",
    "prompt_token_details": "prompt_tokens_details",  # so embeddings name it
}


def of_wire(found: wire.Usage) -> Fields:
    """Return the fields of a `Usage`; every count is one."""
    return {
        "prompt_token_count": found.prompt_token_count,
        "candidates_token_count": found.candidates_token_count,
        "total_token_count": found.total_token_count,
        "thoughts_token_count": found.thoughts_token_count,
        "cached_content_token_count": found.cached_content_token_count,
        "tool_use_prompt_token_count": found.tool_use_prompt_token_count,
        "prompt_tokens_details": _details(found.prompt_tokens_details),
        "candidates_tokens_details": _details(found.candidates_tokens_details),
        "cache_tokens_details": _details(found.cache_tokens_details),
        "tool_use_prompt_tokens_details": _details(found.tool_use_prompt_tokens_details),
        **_word(SERVICE_TIERS, "service_tier", found.service_tier),
        **_word(TRAFFIC_TYPES, "traffic_type", found.traffic_type),
    }


def put(target: pb.Usage, found: wire.Usage) -> None:  # noqa: C901, PLR0912 - spelt out, as below
    """Write what `of_wire` returns into an empty message: field by field, a third of the price."""
    if found.total_token_count is None:
        target.SetInParent()  # it is there though it may say nothing
    if found.prompt_token_count is not None:
        target.prompt_token_count = found.prompt_token_count
    if found.candidates_token_count is not None:
        target.candidates_token_count = found.candidates_token_count
    if found.total_token_count is not None:
        target.total_token_count = found.total_token_count
    if found.thoughts_token_count is not None:
        target.thoughts_token_count = found.thoughts_token_count
    if found.cached_content_token_count is not None:
        target.cached_content_token_count = found.cached_content_token_count
    if found.tool_use_prompt_token_count is not None:
        target.tool_use_prompt_token_count = found.tool_use_prompt_token_count
    if found.prompt_tokens_details is not None:
        _put_details(target.prompt_tokens_details, found.prompt_tokens_details)
    if found.candidates_tokens_details is not None:
        _put_details(target.candidates_tokens_details, found.candidates_tokens_details)
    if found.cache_tokens_details is not None:
        _put_details(target.cache_tokens_details, found.cache_tokens_details)
    if found.tool_use_prompt_tokens_details is not None:
        _put_details(target.tool_use_prompt_tokens_details, found.tool_use_prompt_tokens_details)
    if found.service_tier:
        _put_word(target, SERVICE_TIERS, "service_tier", found.service_tier)
    if found.traffic_type:
        _put_word(target, TRAFFIC_TYPES, "traffic_type", found.traffic_type)


def supersedes(new: wire.Usage | None, old: wire.Usage | None) -> bool:
    """Tell whether what is reported now says all that was reported before, or more."""
    if old is None or new is None:
        return old is None
    less = (
        (new.total_token_count or 0) < (old.total_token_count or 0)
        or (new.candidates_token_count or 0) < (old.candidates_token_count or 0)
        or (new.thoughts_token_count or 0) < (old.thoughts_token_count or 0)
    )
    # spelt out: in a loop it takes four times as long, for each event that arrives with others
    if (
        less
        or (old.prompt_token_count and not new.prompt_token_count)
        or (old.prompt_tokens_details and not new.prompt_tokens_details)
        or (old.candidates_tokens_details and not new.candidates_tokens_details)
        or (old.cached_content_token_count and not new.cached_content_token_count)
        or (old.cache_tokens_details and not new.cache_tokens_details)
        or (old.tool_use_prompt_token_count and not new.tool_use_prompt_token_count)
        or (old.tool_use_prompt_tokens_details and not new.tool_use_prompt_tokens_details)
        or (old.service_tier and not new.service_tier)
    ):
        return False
    return bool(not old.traffic_type or new.traffic_type)


def fields(counts: json_to_proto.Json | json_to_proto.Object) -> Fields:
    """Return the fields of a `Usage` just as JSON has them; what is odd is in `extra`."""
    return json_to_proto.fields(pb.Usage.DESCRIPTOR, counts)


def counted(found: Fields) -> Fields:
    """Return the same fields with every count that can be made out, and without what is none."""
    odd = [name for name in COUNTS if found.get(name, 0) < 0]
    if not odd and "extra_json" not in found and not any(map(_odd, _all_details(found))):
        return found
    extra = extra_of(found)
    result = {name: value for name, value in found.items() if name not in odd}
    extra.update((_CAMEL[name], msgspec.Raw(b"%d" % found[name])) for name in odd)
    for key, text in extra.items():
        name = _NAMES.get(key)
        if name is not None and name not in result:
            taken = number(_value(text)) if name in COUNTS else _listed(text)
            if taken is not None:
                result[name] = taken
    for name in DETAILS:
        if name in result:
            result[name] = [_counted_detail(one) for one in result[name]]
    return {**result, **free_json.extra_of(extra)}


def extra_of(found: Fields) -> json_to_proto.Object:
    """Return what had no place among the fields, as text by name."""
    text = found.get("extra_json")
    return json_to_proto.object_of(text.encode()) if text else {}


def unread(found: Fields) -> set[str]:
    """Return which counts of a report are in what had no place, since they are none."""
    names = (_NAMES.get(key) for key, text in extra_of(found).items() if bytes(text) != b"null")
    return {name for name in names if name in COUNTS and name not in found}


def number(value: Any) -> int | None:
    """Return the count that a JSON value is; None where it is none."""
    if isinstance(value, str):
        text = value.strip()
        if not text.isdecimal() or not text.isascii() or len(text) > len(str(MOST)):
            return None
        value = int(text)
    elif isinstance(value, float) and value.is_integer():
        value = int(value)
    return value if type(value) is int and 0 <= value <= MOST else None


def _details(counts: list[wire.ModalityCount] | None) -> list[Fields] | None:
    if counts is None:
        return None
    return [
        {"modality": MODALITIES[count.modality], "token_count": count.token_count}
        if count.modality in MODALITIES
        else {"modality_raw": masking.text(count.modality), "token_count": count.token_count}
        for count in counts
    ]


def _word(words: Mapping[str, int], name: str, word: str | None) -> Fields:
    """Return an enum's field, or its `_raw` twin where the contract has no value for the word."""
    if not word:
        return {}
    return {name: words[word]} if word in words else {f"{name}_raw": masking.text(word)}


def _put_details(target: Any, counts: list[wire.ModalityCount]) -> None:
    for count in counts:
        one = target.add()
        modality = MODALITIES.get(count.modality)
        if modality is None:
            one.modality_raw = masking.text(count.modality)
        else:
            one.modality = modality
        if count.token_count is not None:
            one.token_count = count.token_count


def _put_word(target: pb.Usage, words: Mapping[str, int], name: str, word: str) -> None:
    for field, value in _word(words, name, word).items():
        setattr(target, field, value)


def _all_details(found: Fields) -> Iterator[Fields]:
    for name in DETAILS:
        yield from found.get(name) or ()


def _odd(detail: Fields) -> bool:
    return "extra_json" in detail or detail.get("token_count", 0) < 0


def _value(text: json_to_proto.Json) -> Any:
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        return None


def _listed(text: msgspec.Raw) -> list[Fields] | None:
    """Return the counts by kind of medium that JSON has; None where it has none."""
    items = json_to_proto.list_of(text) or []
    if not items or not all(map(json_to_proto.is_object, items)):
        return None
    kind = pb.ModalityTokenCount.DESCRIPTOR
    objects = (json_to_proto.object_of(item) for item in items)
    return [json_to_proto.fields(kind, {_camel(k): v for k, v in one.items()}) for one in objects]


def _counted_detail(detail: Fields) -> Fields:
    if not _odd(detail):
        return detail
    result, extra = dict(detail), extra_of(detail)
    if result.get("token_count", 0) < 0:
        extra["tokenCount"] = msgspec.Raw(b"%d" % result.pop("token_count"))
    for key in ("tokenCount", "token_count"):
        taken = number(_value(extra[key])) if key in extra else None
        if taken is not None:
            result.setdefault("token_count", taken)
    return {**result, **free_json.extra_of(extra)}


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)


_CAMEL = {name: _camel(name) for name in (*COUNTS, *DETAILS)}
_NAMES: Mapping[str, str] = {
    **{camel: name for name, camel in _CAMEL.items()},
    **{name: name for name in _CAMEL},
    **{_camel(other): name for other, name in _OTHERS.items()},
    **_OTHERS,
}
