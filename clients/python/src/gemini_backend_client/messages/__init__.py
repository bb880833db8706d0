"""Messages out of plain Python values, and plain values out of messages. No I/O."""

from __future__ import annotations

from gemini_backend_client.messages.answer import Answer, text_of
from gemini_backend_client.messages.content import ContentLike, to_content, to_contents, user_turn
from gemini_backend_client.messages.fields import (
    CountFields,
    EmbedFields,
    ExecuteFields,
    ProcessFields,
)
from gemini_backend_client.messages.progress import Progress
from gemini_backend_client.messages.request import (
    build,
    embed_request,
    new_request_id,
    with_request_id,
)

__all__ = [
    "Answer",
    "ContentLike",
    "CountFields",
    "EmbedFields",
    "ExecuteFields",
    "ProcessFields",
    "Progress",
    "build",
    "embed_request",
    "new_request_id",
    "text_of",
    "to_content",
    "to_contents",
    "user_turn",
    "with_request_id",
]
