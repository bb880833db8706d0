"""What an answer says about itself is masked; the answer is passed on as the model gave it."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from gemini.backend.v1 import content_pb2 as pb
from gemini_backend import masking
from gemini_backend.upstream.gemini.translation.scalars import UNFIT

if TYPE_CHECKING:
    from collections.abc import Callable

    import msgspec
    from google.protobuf.descriptor import Descriptor

    Read = Callable[[msgspec.Raw], Any]

# parts with everything in them, and the tokens of their texts with probabilities
_ANSWER = (pb.Part.DESCRIPTOR, pb.LogprobsResult.DESCRIPTOR)


def is_answer(message: Descriptor) -> bool:
    """Tell whether the fields of a message are a part of the answer, and not about it."""
    return message.full_name in _answer()


def masked(read: Read) -> Read:
    """Return a reader of what `read` reads, without secrets."""

    def masked_read(text: msgspec.Raw) -> Any:
        value = read(text)
        if isinstance(value, bytes):
            return masking.data(value)
        return value if value is UNFIT else masking.value(value)

    return masked_read


@cache
def _answer() -> frozenset[str]:
    found: set[str] = set()
    ahead = list(_ANSWER)
    while ahead:
        message = ahead.pop()
        if message.full_name not in found:
            found.add(message.full_name)
            ahead += [field.message_type for field in message.fields if field.message_type]
    return frozenset(name for name in found if not name.startswith("google.protobuf."))
