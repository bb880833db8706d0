"""Events that are too large for the caller's client, cut into several that are not.

A blob comes as chunks, a text as several texts, other parts apart; what else the delta says comes
with the last piece. What cannot be cut, such as the arguments of one call, stays whole.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gemini.backend.v1 import content_pb2 as content
from gemini.backend.v1 import execute_service_pb2 as pb
from gemini_backend.processing.answers.delta_merge import put

if TYPE_CHECKING:
    from collections.abc import Iterator

DEFAULT_MAX_BYTES = 4_000_000
FRAME_BYTES = 512
"""What an event may hold beside its parts: its numbers, names and lengths."""
_UTF8_TAIL = 0b10000000
_UTF8_MASK = 0b11000000


def in_pieces(event: pb.ExecuteResponse, limit: int) -> Iterator[pb.ExecuteResponse]:
    """Yield the event as events of at most `limit` bytes, where it can be cut so far.

    Each piece is made when it is asked for: to make all of them at once takes long.
    """
    if event.ByteSize() + FRAME_BYTES <= limit or not event.HasField("delta"):
        yield event
        return
    made: pb.ExecuteResponse | None = None
    whole, room = True, 0
    for part in _parts(event.delta, limit - FRAME_BYTES):
        size = part.ByteSize()
        if made is None or size > room:
            if made is not None:
                whole = False
                yield made
            made = _next(event.delta)
            room = limit - FRAME_BYTES
        made.delta.parts.append(part)
        room -= size
    if made is not None and whole and len(made.delta.parts) == len(event.delta.parts):
        yield event  # one part that cannot be cut
        return
    rest = _without_parts(event)
    if made is None:
        yield rest
    elif rest.ByteSize() + FRAME_BYTES > room:
        yield made
        yield rest
    else:
        made.MergeFrom(rest)
        yield made


def _without_parts(event: pb.ExecuteResponse) -> pb.ExecuteResponse:
    """Return what an event says beside its parts."""
    rest = pb.ExecuteResponse(delta=pb.Delta())
    for outer, value in event.ListFields():
        if outer.name != "delta":
            put(rest, outer, value)
    for field, value in event.delta.ListFields():
        if field.name != "parts":
            put(rest.delta, field, value)
    return rest


def _next(delta: pb.Delta) -> pb.ExecuteResponse:
    """Return an event with what every piece of a delta says."""
    made = pb.ExecuteResponse(delta=pb.Delta(upstream_event=delta.upstream_event))
    if delta.HasField("candidate_index"):
        made.delta.candidate_index = delta.candidate_index
    if delta.HasField("role"):
        made.delta.role = delta.role
    return made


def _parts(delta: pb.Delta, limit: int) -> Iterator[content.Part]:
    for part in delta.parts:
        kind = part.WhichOneof("data")
        if part.ByteSize() <= limit:
            yield part
        elif kind == "inline_data":
            yield from _chunks(part, limit)
        elif kind == "text":
            yield from _texts(part, limit)
        else:
            yield part


def _chunks(part: content.Part, limit: int) -> Iterator[content.Part]:
    blob = part.inline_data
    data, total = blob.data, len(blob.data)
    most = max(1, limit - FRAME_BYTES - len(blob.mime_type))
    for offset in range(0, total, most):
        last = offset + most >= total
        made = content.Part()
        if last:  # what else the part says
            made.CopyFrom(part)
        if part.HasField("thought"):
            made.thought = part.thought
        made.blob_chunk.mime_type = blob.mime_type
        made.blob_chunk.data = data[offset : offset + most]
        made.blob_chunk.offset = offset
        made.blob_chunk.total_bytes = total
        made.blob_chunk.last = last
        if last:
            if blob.HasField("display_name"):
                made.blob_chunk.display_name = blob.display_name
            if blob.HasField("extra"):
                made.blob_chunk.extra.CopyFrom(blob.extra)
            made.blob_chunk.extra_json = blob.extra_json
        yield made


def _texts(part: content.Part, limit: int) -> Iterator[content.Part]:
    data = part.text.encode()
    most = max(4, limit - FRAME_BYTES)
    start, total = 0, len(data)
    while start < total:
        end = min(start + most, total)
        while end < total and data[end] & _UTF8_MASK == _UTF8_TAIL:
            end -= 1  # not within a character
        made = content.Part()
        if end == total:  # what else the part says
            made.CopyFrom(part)
        if part.HasField("thought"):
            made.thought = part.thought
        made.text = data[start:end].decode()
        start = end
        yield made
