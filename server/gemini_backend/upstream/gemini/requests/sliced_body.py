"""Bodies of large requests, made in slices: the same JSON, but others are served meanwhile."""

from __future__ import annotations

import re
from binascii import b2a_base64
from collections import deque
from io import BytesIO
from os import urandom
from typing import TYPE_CHECKING, Any, Final

import msgspec

from gemini_backend.processing.slices import PIECE, Slices
from gemini_backend.upstream.gemini.requests import embeddings, generate
from gemini_backend.upstream.gemini.translation import ROUNDED, later

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from gemini.backend.v1.execute_service_pb2 import CountTokensRequest, ExecuteRequest
    from gemini_backend.call import Call
    from gemini_backend.clock import Clock
    from gemini_backend.upstream.base import EmbedBatch

    Place = tuple[Any, Any, str | bytes]

_BYTES = PIECE // 3 * 3  # base64 of pieces of such a length can be put together
_encode: Final = msgspec.json.encode


async def generate_body(
    request: ExecuteRequest, call: Call, clock: Clock, rounded: list[str]
) -> bytes:
    """Return the body of generateContent; see `generate.generate`.

    Raises:
        InvalidRequest: a field cannot be written as JSON.
        DeadlinePassed: the call's deadline passed meanwhile.
    """
    async with Slices(call, clock) as slices:
        return await _encoded(await _made(lambda: generate.frame(request), slices, rounded), slices)


async def count_tokens_body(request: CountTokensRequest, call: Call, clock: Clock) -> bytes:
    """Return the body of countTokens; see `generate.count_tokens`.

    Raises:
        InvalidRequest: a field cannot be written as JSON.
        DeadlinePassed: the call's deadline passed meanwhile.
    """
    async with Slices(call, clock) as slices:
        body = await _made(lambda: generate.frame(request), slices)
        return await _encoded(generate.count_frame(request, body), slices)


async def embed_body(batch: EmbedBatch, call: Call, clock: Clock) -> bytes:
    """Return the body of batchEmbedContents; see `embeddings.body`.

    Raises:
        InvalidRequest: a field cannot be written as JSON.
        DeadlinePassed: the call's deadline passed meanwhile.
    """
    async with Slices(call, clock) as slices:
        return await _encoded(await _made(lambda: embeddings.frame(batch), slices), slices)


async def _made(
    frame: Callable[[], dict[str, Any]], slices: Slices, rounded: list[str] | None = None
) -> dict[str, Any]:
    """Return the JSON that `frame` returns, what was put off in it filled."""
    jobs: later.Jobs = deque()
    putting_off, noting = later.LATER.set(jobs), ROUNDED.set(rounded)
    try:
        body = frame()
        for _ in later.worked_off(jobs):
            await slices.pause()
    finally:
        later.LATER.reset(putting_off)
        ROUNDED.reset(noting)
    return body


async def _encoded(body: dict[str, Any], slices: Slices) -> bytes:
    """Return the body as text. A long value is put in last: each copy of it takes time and room."""
    mark = urandom(16).hex()
    long: list[str | bytes] = []
    for place in _long_values(body):
        if place is not None:
            holder, key, value = place
            holder[key] = f"{mark}{len(long):08}"
            long.append(value)
            del place, value
        await slices.pause()
    for name in ("contents", "tools", "requests"):
        items = body.get(name)
        if isinstance(items, list):
            for index, item in enumerate(items):
                items[index] = msgspec.Raw(_encode(item))
                await slices.pause()
    encoded = _encode(body)
    if not long:
        return encoded
    whole = BytesIO()
    for index, text in enumerate(re.split(f"{mark}([0-9]{{8}})".encode(), encoded)):
        if index % 2:
            for piece in _long(long[int(text)]):
                whole.write(piece)
                await slices.pause()
            long[int(text)] = ""
        else:
            whole.write(text)
    return whole.getvalue()


def _long_values(body: dict[str, Any]) -> Iterator[Place | None]:
    """Yield each text and each bytes that take long to encode; None in between, as a pause."""
    waiting: list[Any] = [body]
    while waiting:
        holder = waiting.pop()
        for key, value in holder.items() if isinstance(holder, dict) else enumerate(holder):
            if isinstance(value, (dict, list)):
                waiting.append(value)
            elif isinstance(value, (str, bytes)) and len(value) > PIECE:
                yield holder, key, value
        yield None


def _long(value: str | bytes) -> Iterator[bytes]:
    """Yield the JSON of a long text, or of bytes as base64, in pieces without the quotes."""
    if isinstance(value, str):
        for begin in range(0, len(value), PIECE):
            yield _encode(value[begin : begin + PIECE])[1:-1]
    else:
        view = memoryview(value)
        for begin in range(0, len(view), _BYTES):
            yield b2a_base64(view[begin : begin + _BYTES], newline=False)
