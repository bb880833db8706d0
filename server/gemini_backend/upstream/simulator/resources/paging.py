"""Lists in pages, as Google's APIs give them."""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING

from gemini_backend.upstream.simulator.errors import invalid

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gemini_backend.upstream.simulator.wire import Json


def page(
    items: Sequence[Json], name: str, query: Mapping[str, str], default: int, most: int
) -> Json:
    """One page of ``items`` under ``name``, with ``nextPageToken`` if there are more.

    Args:
        items: All of them.
        name: The field for the items.
        query: The query of the request: ``pageSize`` and ``pageToken``.
        default: How many items a page has if the request does not say.
        most: How many it has at most.

    Raises:
        ApiError: 400 for a size or token that is none.
    """
    raw = query.get("pageSize") or query.get("page_size") or "0"
    try:
        size = int(raw)
    except ValueError as error:
        raise invalid(f"Invalid value at 'page_size' (TYPE_INT32), \"{raw}\"") from error
    if size < 0:
        raise invalid("page_size must not be negative.")
    size = min(size or default, most)
    start = _start(query.get("pageToken") or query.get("page_token") or "")
    out: Json = {name: list(items[start : start + size])}
    if start + size < len(items):
        out["nextPageToken"] = base64.urlsafe_b64encode(f"at:{start + size}".encode()).decode()
    return out


def _start(token: str) -> int:
    if not token:
        return 0
    try:
        return int(base64.urlsafe_b64decode(token).decode().removeprefix("at:"))
    except (binascii.Error, ValueError) as error:
        raise invalid("The page token is invalid.") from error
