"""The answer as nearly every event has it: the few fields that make up a stream of text.

These are read straight into typed objects. Whatever does not fit exactly, an unknown field, an
empty list, a number out of range, makes the typed reading fail, and the event is read as plain JSON
instead (`decode`), where nothing is lost. So a value that is here stands for the JSON that it came
from, to the letter. A field that is null counts as absent, as everywhere in Google's JSON.
"""

from __future__ import annotations

from typing import Annotated, Final

from msgspec import Meta, Raw, Struct

MOST_CANDIDATES: Final = 256
"""Candidates of an answer; Gemini gives eight at the most."""
MOST_PARTS: Final = 16_384
"""Parts of one candidate in one event, or in a whole answer."""

Int32 = Annotated[int, Meta(ge=-(2**31), le=2**31 - 1)]
Count = Annotated[int, Meta(ge=0, le=2**31 - 1)]
Text = Annotated[str, Meta(min_length=1)]


class _Wire(Struct, rename="camel", forbid_unknown_fields=True, omit_defaults=True, gc=False):
    pass


class FunctionCall(_Wire):
    """A call that the model wants made; `args` is text of JSON, empty for none."""

    name: Text
    id: str | None = None
    args: Raw = Raw()


class Part(_Wire):
    """A piece of a turn: text or a function call."""

    text: str | None = None
    thought: bool | None = None
    thought_signature: str | None = None
    function_call: FunctionCall | None = None


class Content(_Wire):
    """A turn."""

    parts: Annotated[list[Part], Meta(min_length=1, max_length=MOST_PARTS)] | None = None
    role: str | None = None


class Candidate(_Wire):
    """One of the answers."""

    content: Content | None = None
    finish_reason: Text | None = None
    index: Int32 | None = None
    continuation_token: Text | None = None


class ModalityCount(_Wire):
    """Tokens of one kind of medium."""

    modality: Text
    token_count: Count | None = None


Counts = Annotated[list[ModalityCount], Meta(min_length=1)]


class Usage(_Wire):
    """Tokens so far."""

    prompt_token_count: Count | None = None
    candidates_token_count: Count | None = None
    total_token_count: Count | None = None
    thoughts_token_count: Count | None = None
    cached_content_token_count: Count | None = None
    tool_use_prompt_token_count: Count | None = None
    prompt_tokens_details: Counts | None = None
    candidates_tokens_details: Counts | None = None
    cache_tokens_details: Counts | None = None
    tool_use_prompt_tokens_details: Counts | None = None
    service_tier: str | None = None
    traffic_type: str | None = None


class Answer(_Wire):
    """A whole answer, or one event of a stream."""

    candidates: Annotated[list[Candidate], Meta(min_length=1, max_length=MOST_CANDIDATES)]
    usage_metadata: Usage | None = None
    model_version: Text | None = None
    response_id: Text | None = None
    create_time: Text | None = None
