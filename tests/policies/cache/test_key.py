"""What makes two requests the same."""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.struct_pb2 import Struct
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from gemini.backend.v1 import content_pb2 as content
from gemini.backend.v1 import execute_service_pb2 as pb
from gemini_backend.policies.cache.key import INDIFFERENT, answer_key, is_deterministic, run_key
from gemini_backend.principal import Principal
from tests.support.clock import FakeClock
from tests.support.messages.calls import make_call
from tests.support.upstreams.counting_upstream import ask

CALL = make_call(FakeClock())
TURN = content.Content(role="user", parts=[content.Part(text="hello")])
# Every field of a request, with a value that another request does not have.
VALUES: dict[str, Any] = {
    "prompt": "other",
    "contents": [content.Content(role="user", parts=[content.Part(text="other")])],
    "model": "models/b",
    "system_instruction": content.Content(parts=[content.Part(text="be brief")]),
    "generation_config": content.GenerationConfig(temperature=0, max_output_tokens=5),
    "tools": [content.Tool(function_declarations=[content.FunctionDeclaration(name="f")])],
    "tool_config": content.ToolConfig(include_server_side_tool_invocations=True),
    "safety_settings": [content.SafetySetting(category=content.HARM_CATEGORY_HARASSMENT)],
    "cached_content": "cachedContents/x",
    "session": "sessions/x",
    "truncation": pb.TRUNCATION_DROP_OLDEST,
    "sanitization": pb.Sanitization(pii=pb.PII_MODE_REDACT),
    "extra": Struct(fields={}),
    "priority": pb.PRIORITY_BATCH,
    "cache_control": pb.CacheControl(mode=pb.CACHE_MODE_REFRESH, ttl=Duration(seconds=9)),
    "fallback": pb.Fallback(allow_stale=True),
    "first_token_timeout": Duration(seconds=9),
    "idle_timeout": Duration(seconds=9),
    "max_cost_nano_usd": 9,
    "labels": {"team": "x"},
    "request_id": "x",
    "on_disconnect": pb.OnDisconnect(mode=pb.DISCONNECT_MODE_KEEP),
    "resume": pb.Resume(execution="x"),
    "continuation_token": b"t",
    "continuation_mode": pb.CONTINUATION_MODE_MANUAL,
    "service_tier": content.SERVICE_TIER_FLEX,
    "service_tier_raw": "new",
    "max_event_bytes": 65536,
    "store": False,
    "model_armor_config": pb.ModelArmorConfig(prompt_template_name="t"),
    "output_config": pb.GenerationOutputConfig(output_uri_prefix="gs://x"),
    "extra_json": '{"a":1}',
}


def test_every_field_of_a_request_is_looked_at_here() -> None:
    """A field that the contract gains is part of the key until somebody says otherwise."""
    assert {field.name for field in pb.ExecuteRequest.DESCRIPTOR.fields} == set(VALUES)
    assert set(INDIFFERENT) < set(VALUES)


@pytest.mark.parametrize("field", sorted(set(VALUES) - set(INDIFFERENT)))
def test_what_changes_the_answer_changes_the_key(field: str) -> None:
    """Another value of a field that decides the answer is another request."""
    rest = {} if field == "prompt" else {field: VALUES[field]}
    prompt = VALUES["prompt"] if field == "prompt" else "hello"
    assert answer_key(CALL, ask()) != answer_key(CALL, ask(prompt, **rest))


@pytest.mark.parametrize("field", sorted(INDIFFERENT))
def test_what_does_not_change_the_answer_does_not_change_the_key(field: str) -> None:
    """Labels, ids, times and what else only concerns the caller are no part of the key."""
    assert answer_key(CALL, ask()) == answer_key(CALL, ask(**{field: VALUES[field]}))


def test_tenant_and_namespace_are_always_part_of_the_key() -> None:
    """No two tenants and no two namespaces ever share a key, however their names are put."""
    keys = set()
    for tenant, namespace in (("a", "b"), ("ab", ""), ("a", ""), ("", "ab"), ("a1:b", "")):
        call = make_call(FakeClock())
        call = replace(call, principal=Principal(tenant=tenant))
        keys.add(answer_key(call, ask(cache_control=pb.CacheControl(cache_namespace=namespace))))
    assert 5 == len(keys)


def test_a_prompt_is_one_user_turn() -> None:
    """`prompt` and the same text as the only turn are the same request."""
    config = content.GenerationConfig(temperature=0)
    turns = pb.ExecuteRequest(contents=[TURN], model="models/a", generation_config=config)
    assert answer_key(CALL, ask()) == answer_key(CALL, turns)


def test_a_long_answer_is_followed_by_default() -> None:
    """AUTO, and nothing said of continuations, are the same request; MANUAL is another one."""
    auto, manual = pb.CONTINUATION_MODE_AUTO, pb.CONTINUATION_MODE_MANUAL
    keys = [answer_key(CALL, ask(continuation_mode=mode)) for mode in (0, auto, manual)]
    assert (keys[0], 2) == (keys[1], len(set(keys)))


def test_the_order_of_a_map_does_not_matter() -> None:
    """Free-form objects are the same in whichever order their keys were set."""
    names = [f"k{number}" for number in range(50)]
    one, other = Struct(), Struct()
    one.update(dict.fromkeys(names, 1))
    other.update(dict.fromkeys(reversed(names), 1))
    assert answer_key(CALL, ask(extra=one)) == answer_key(CALL, ask(extra=other))


def test_unknown_fields_change_the_key() -> None:
    """What a newer client sends and this server has no name for makes another request."""
    newer = pb.ExecuteRequest.FromString(ask().SerializeToString() + b"\xf2\x3f\x01x")
    inside = pb.ExecuteRequest.FromString(
        ask().SerializeToString() + b"\x2a\x05\xf2\x3f\x02xy"  # into generation_config
    )
    assert 3 == len({answer_key(CALL, request) for request in (ask(), newer, inside)})


def test_the_request_is_left_as_it_was() -> None:
    """Making a key writes nothing into the request."""
    request = ask(labels={"a": "b"}, fallback=pb.Fallback(allow_stale=True))
    before = request.SerializeToString(deterministic=True)
    answer_key(CALL, request)
    run_key(CALL, request)
    assert before == request.SerializeToString(deterministic=True)


@pytest.mark.parametrize(
    ("field", "alike"),
    [
        ("labels", True),
        ("request_id", True),
        ("on_disconnect", True),
        ("priority", False),
        ("fallback", False),
        ("first_token_timeout", False),
        ("idle_timeout", False),
        ("max_cost_nano_usd", False),
        ("cache_control", False),
    ],
)
def test_only_calls_of_the_same_manner_share_a_run(field: str, alike: bool) -> None:
    """Who wants other timeouts, another fallback or a fresh answer gets a run of its own."""
    assert alike == (run_key(CALL, ask()) == run_key(CALL, ask(**{field: VALUES[field]})))


@pytest.mark.parametrize(
    ("config", "tools", "settled"),
    [
        ({}, (), False),
        ({"temperature": 0.0}, (), True),
        ({"temperature": 0.7}, (), False),
        ({"temperature": 0.7, "seed": 0}, (), True),
        ({"top_k": 1}, (), True),
        ({"temperature": 0.0}, ({"function_declarations": [{"name": "f"}]},), True),
        ({"temperature": 0.0}, ({"google_search": {}},), False),
        ({"temperature": 0.0}, ({"code_execution": {}},), False),
        ({"seed": 1}, ({"url_context": {}},), False),
    ],
)
def test_what_is_deterministic(config: Any, tools: Any, settled: bool) -> None:
    """Temperature 0, top_k 1 or a seed settle an answer; a tool that looks things up does not."""
    request = pb.ExecuteRequest(
        prompt="x",
        generation_config=content.GenerationConfig(**config),
        tools=[content.Tool(**tool) for tool in tools],
    )
    assert settled == is_deterministic(request)


def test_the_role_of_a_system_instruction_does_not_matter() -> None:
    """Gemini does not read it."""
    one, other = (
        ask(system_instruction=content.Content(role=role, parts=[content.Part(text="be brief")]))
        for role in ("", "system")
    )
    assert answer_key(CALL, one) == answer_key(CALL, other)


def test_who_asks_anew_shares_no_run_with_who_does_not() -> None:
    """A refresh is not served by a run that may have been begun before it was asked for."""
    modes = [pb.CACHE_MODE_REFRESH, pb.CACHE_MODE_DEFAULT, pb.CACHE_MODE_UNSPECIFIED]
    asked = [ask(cache_control=pb.CacheControl(mode=mode)) for mode in modes]
    refresh, used, unsaid = (run_key(CALL, request) for request in asked)
    assert used == unsaid == answer_key(CALL, asked[1])
    assert used + b"r" == refresh


BESIDE = sorted(set(VALUES) - {"prompt", "contents", "tools"})
WORDS = st.lists(
    st.text(min_size=1, max_size=400).filter(lambda text: not text[0].isspace()), min_size=3
)


@given(fields=st.sets(st.sampled_from(BESIDE)), prompts=WORDS)
def test_a_form_seen_before_is_digested_like_any_other(
    fields: set[str], prompts: list[str]
) -> None:
    """What is remembered of requests that differ in their prompts changes none of their keys."""
    beside = {field: VALUES[field] for field in fields}
    for prompt in prompts:
        request = ask(prompt, **beside)
        turn = content.Content(role="user", parts=[content.Part(text=prompt)])
        turns = pb.ExecuteRequest()
        turns.CopyFrom(request)
        turns.ClearField("prompt")
        turns.contents.append(turn)
        assert answer_key(CALL, turns) == answer_key(CALL, request)
        assert run_key(CALL, turns) == run_key(CALL, request)


def test_a_form_with_unknown_fields_is_digested_like_any_other() -> None:
    """They stand where protobuf puts them, whether the form was seen before or not."""
    for prompt in ("one", "two", "three"):
        written = ask(prompt).SerializeToString() + b"\xf2\x3f\x01x"
        request = pb.ExecuteRequest.FromString(written)
        turns = pb.ExecuteRequest.FromString(written)
        turns.ClearField("prompt")
        turns.contents.add(role="user").parts.add(text=prompt)
        assert answer_key(CALL, turns) == answer_key(CALL, request)
