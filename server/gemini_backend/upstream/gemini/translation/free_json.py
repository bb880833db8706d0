"""JSON that has no types in the contract: as a Struct, and as the text that it came as."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gemini_backend import masking
from gemini_backend.errors import MalformedAnswer
from gemini_backend.processing.json_objects import MAX_DEPTH, bearable, struct_of, text_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    import msgspec

__all__ = ["extra_of", "free", "struct_of"]


def free(value: Mapping[str, Any]) -> dict[str, Any]:
    """Return a JSON object so that a `google.protobuf.Struct` takes it.

    Whole numbers beyond the range of a double become their digits as text.

    Raises:
        MalformedAnswer: it nests deeper than MAX_DEPTH.
    """
    found = bearable(value)
    if found is None:
        msg = f"the answer is nested deeper than {MAX_DEPTH} levels, the maximum of a message"
        raise MalformedAnswer(msg).as_lasting()
    return found


def extra_of(
    fields: Mapping[str, msgspec.Raw], name: str = "extra", *, mask: bool = True
) -> dict[str, Any]:
    """Return `extra` and its exact twin as keyword arguments; the first only where it fits.

    Secrets are masked, unless the fields are the answer itself: then `mask` is false.
    """
    if not fields:
        return {}
    text = text_of(fields)
    if mask:
        text = masking.json_text(text)
    found: dict[str, Any] = {f"{name}_json": text}
    struct = struct_of(text)
    if struct is not None:
        found[name] = struct
    return found
