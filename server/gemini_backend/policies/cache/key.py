"""What makes two requests the same: digests of all that changes the answer, and of nothing else.

Protobuf's own bytes are not canonical where there are maps, so they are made deterministic. What
this version of the contract has no name for (unknown fields) is part of the digest.
"""

from __future__ import annotations

from functools import lru_cache
from hashlib import sha256
from typing import TYPE_CHECKING, Any, cast

from gemini.backend.v1 import execute_service_pb2 as pb
from gemini_backend.policies.checks import sketch_of
from gemini_backend.processing.answers.delta_merge import put
from gemini_backend.processing.slices import PIECE, Slices

if TYPE_CHECKING:
    from collections.abc import Generator

    from gemini_backend.call import Call
    from gemini_backend.clock import Clock
    from gemini_backend.config.sections.answers import CacheOptions

# What a caller may change and still be given the same answer.
INDIFFERENT = frozenset(
    {
        "priority",
        "cache_control",
        "fallback",
        "first_token_timeout",
        "idle_timeout",
        "max_cost_nano_usd",
        "labels",
        "request_id",
        "on_disconnect",
        "resume",
        "max_event_bytes",
        "service_tier",
        "service_tier_raw",
        "store",
    }
)
# What changes how an answer comes about, if not the answer: only who agrees may share one run.
_MANNER = frozenset(
    {"priority", "fallback", "first_token_timeout", "idle_timeout", "max_cost_nano_usd"}
    | {"service_tier", "service_tier_raw", "store"}
)
# All other tools look things up, run code or call servers: their answers change by themselves.
_SETTLED_TOOLS = frozenset({"function_declarations"})
_VERSION = b"answer-1"
_CONTENTS = pb.ExecuteRequest.CONTENTS_FIELD_NUMBER
# What is remembered of so many requests, and of so many forms.
_MOST = 4096


def answer_key(call: Call, request: pb.ExecuteRequest) -> bytes:
    """Return the digest of what decides the answer: 32 bytes.

    Tenant and namespace are always part of it. `prompt` is the same as one user turn.
    """
    sketch = sketch_of(call, request)
    if sketch is not None:
        return _remembered(call.principal.tenant, sketch.form, sketch.prompt)[0]
    return _digest(call.principal.tenant, request)


async def sliced_answer_key(call: Call, request: pb.ExecuteRequest, clock: Clock) -> bytes:
    """Return the same as `answer_key`, in slices where the request is large.

    Raises:
        DeadlinePassed: the call's deadline passed meanwhile.
    """
    if not call.large:
        return answer_key(call, request)
    steps = _steps(call.principal.tenant, request)
    async with Slices(call, clock) as slices:
        try:
            while True:
                next(steps)
                await slices.pause()
        except StopIteration as end:
            return cast("bytes", end.value)


def _digest(tenant: str, request: pb.ExecuteRequest) -> bytes:
    steps = _steps(tenant, request)
    try:
        while True:
            next(steps)
    except StopIteration as end:
        return cast("bytes", end.value)


def _steps(tenant: str, request: pb.ExecuteRequest) -> Generator[None, None, bytes]:
    """Return the digest of a request; each step takes time by the request's size."""
    asked = pb.ExecuteRequest()
    asked.CopyFrom(request)
    yield
    namespace = asked.cache_control.cache_namespace
    _leave_out_the_indifferent(asked)
    yield
    prompt = asked.prompt
    if prompt:
        yield
        asked.contents.add(role="user").parts.add(text=prompt)
        asked.ClearField("prompt")
    yield
    digest = _digest_for(tenant, namespace)
    written = memoryview(asked.SerializeToString(deterministic=True))
    del asked  # a large one takes as much room as what was written of it
    for begin in range(0, len(written), PIECE):
        yield
        digest.update(written[begin : begin + PIECE])
    made: bytes = digest.digest()
    return made


@lru_cache(maxsize=_MOST)
def _remembered(tenant: str, form: bytes, prompt: str) -> tuple[bytes, bytes]:
    """Digest what is asked over and over once; the one not seen for longest goes.

    Beside it is what a run's key has behind that of its answer.
    """
    if prompt and (tenant, form) in _around:
        around = _around[tenant, form] or _Around(tenant, form)
        _around[tenant, form] = around
        if around.holds:
            return around.digest(prompt), around.manner
    elif len(_around) >= _MOST:
        _around.clear()
    _around.setdefault((tenant, form))
    asked = pb.ExecuteRequest.FromString(form)
    namespace = _namespace_of(asked)
    manner = _manner_of(asked)
    _leave_out_the_indifferent(asked)
    if prompt:
        asked.contents.add(role="user").parts.add(text=prompt)
        asked.ClearField("prompt")
    digest = _digest_for(tenant, namespace)
    digest.update(asked.SerializeToString(deterministic=True))
    return digest.digest(), manner


class _Around:
    """All that is digested of requests of one form but their prompts.

    Attributes:
        manner: What a run's key has behind that of its answer.
        holds: Whether a prompt put between is the same as the whole request written out.
    """

    __slots__ = ("_after", "_before", "_part", "_turn", "holds", "manner")

    def __init__(self, tenant: str, form: bytes) -> None:
        """Take apart what a request of this form is without its prompt."""
        asked = pb.ExecuteRequest.FromString(form)
        self._before = _digest_for(tenant, _namespace_of(asked))
        self.manner = _manner_of(asked)
        _leave_out_the_indifferent(asked)
        asked.ClearField("prompt")
        self._turn = pb.ExecuteRequest()
        self._part = self._turn.contents.add(role="user").parts.add(text="x")
        before, after = pb.ExecuteRequest(), pb.ExecuteRequest()
        for field, value in asked.ListFields():
            put(before if field.number < _CONTENTS else after, field, value)
        first = before.SerializeToString(deterministic=True)
        self._after: bytes = after.SerializeToString(deterministic=True)
        asked.contents.add(role="user").parts.add(text="x")
        apart = first + self._turn.SerializeToString() + self._after
        self.holds = apart == asked.SerializeToString(deterministic=True)
        self._before.update(first)

    def digest(self, prompt: str) -> bytes:
        """Return the digest of the request with a prompt."""
        self._part.text = prompt
        digest = self._before.copy()
        digest.update(self._turn.SerializeToString() + self._after)
        made: bytes = digest.digest()
        return made


# By tenant and form; None for a form that was seen once, since many are not seen again.
_around: dict[tuple[str, bytes], _Around | None] = {}


def _namespace_of(asked: pb.ExecuteRequest) -> str:
    return asked.cache_control.cache_namespace if asked.HasField("cache_control") else ""


def _leave_out_the_indifferent(asked: pb.ExecuteRequest) -> None:
    for field, _ in asked.ListFields():
        if field.name in INDIFFERENT:
            asked.ClearField(field.name)  # type: ignore[arg-type] # the message's own field
    if asked.continuation_mode == pb.CONTINUATION_MODE_AUTO:
        asked.ClearField("continuation_mode")  # what is not said means the same
    if asked.HasField("system_instruction"):
        asked.system_instruction.ClearField("role")


def _digest_for(tenant: str, namespace: str) -> Any:
    digest = sha256(_VERSION)
    for name in (tenant, namespace):
        data = name.encode()
        digest.update(b"%d:" % len(data))
        digest.update(data)
    return digest


def run_key(call: Call, request: pb.ExecuteRequest) -> bytes:
    """Return what two calls must have in common to share one run of the rest."""
    sketch = sketch_of(call, request)
    if sketch is None:
        return _digest(call.principal.tenant, request) + _manner_of(request)
    key, manner = _remembered(call.principal.tenant, sketch.form, sketch.prompt)
    return key + manner


async def sliced_run_key(call: Call, request: pb.ExecuteRequest, clock: Clock) -> bytes:
    """Return the same as `run_key`, in slices where the request is large.

    Raises:
        DeadlinePassed: the call's deadline passed meanwhile.
    """
    if not call.large:
        return run_key(call, request)
    return await sliced_answer_key(call, request, clock) + _manner_of(request)


def _manner_of(request: pb.ExecuteRequest) -> bytes:
    """Return what a run's key has behind that of its answer; nothing for nearly every request."""
    key = b""
    fields = [field for field, _ in request.ListFields() if field.name in _MANNER]
    if fields:
        manner = pb.ExecuteRequest()
        for field in fields:
            put(manner, field, getattr(request, field.name))
        key = manner.SerializeToString(deterministic=True)
    if request.HasField("cache_control") and request.cache_control.mode == pb.CACHE_MODE_REFRESH:
        key += b"r"
    return key


def is_deterministic(request: pb.ExecuteRequest) -> bool:
    """Say whether the model, asked again, may be expected to say the same.

    So it may at temperature 0, with `top_k` 1 or with a seed, unless a tool looks things up.
    """
    if not request.HasField("generation_config"):
        return False
    config = request.generation_config
    settled = (
        (config.HasField("temperature") and config.temperature == 0)
        or config.top_k == 1
        or config.HasField("seed")
    )
    if not settled or not request.tools:
        return settled
    return all(
        field.name in _SETTLED_TOOLS for tool in request.tools for field, _ in tool.ListFields()
    )


_MEANT = frozenset({pb.CACHE_MODE_REFRESH, pb.CACHE_MODE_ONLY_IF_CACHED})


def concerns(options: CacheOptions, request: Any) -> bool:
    """Say whether the cache has to do with a request.

    Whoever asks for REFRESH or ONLY_IF_CACHED means it; else the setting `cache.mode` decides.
    """
    if options.mode == "off":
        return False
    if request.HasField("cache_control"):
        mode = request.cache_control.mode
        if mode == pb.CACHE_MODE_BYPASS:
            return False
        if mode in _MEANT:
            return True
    return options.mode == "all" or is_deterministic(request)
