"""Lists a page at a time, without anything kept between the pages."""

from __future__ import annotations

import base64
import binascii
import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from gemini_backend.errors import InvalidRequest, Violation

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

T = TypeVar("T")
_DIGEST_BYTES = 8


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """Some items of a list, and the token of the page after; empty on the last."""

    items: list[T]
    next_token: str


def page_of(
    items: Sequence[T],
    key: Callable[[T], str],
    request: Any,
    *,
    default_size: int,
    max_size: int = 1000,
) -> Page[T]:
    """Return the page that a request asks for.

    A token names the last item of the page before, not a position: what comes or goes between two
    pages makes no other item appear twice or not at all.

    Args:
        items: The whole list, in ascending order of `key`.
        key: Unique for each item.
        request: Has `page_size` and `page_token`; its other fields must not change from page to
            page.
        default_size: Items on a page when the request names no number.
        max_size: Most items on a page.

    Raises:
        InvalidRequest: the token is none of ours, or belongs to another request.
    """
    after = last_seen(request)
    size = min(request.page_size or default_size, max_size)
    rest = [item for item in items if after is None or key(item) > after]
    page = rest[:size]
    more = len(rest) > size
    return Page(page, token_after(key(page[-1]), request) if more else "")


def last_seen(request: Any) -> str | None:
    """Return the key of the last item of the page before; None for the first page.

    Raises:
        InvalidRequest: the token is none of ours, or belongs to another request.
    """
    return _read(request.page_token, _digest(request)) if request.page_token else None


def token_after(key: str, request: Any) -> str:
    """Return the token of the page that follows the item with this key, which is not empty."""
    return _write(key, _digest(request))


def _digest(request: Any) -> bytes:
    """Return what two pages of one list have in common."""
    same = type(request)()
    same.CopyFrom(request)
    same.ClearField("page_size")
    same.ClearField("page_token")
    data = same.SerializeToString(deterministic=True)
    return hashlib.blake2b(data, digest_size=_DIGEST_BYTES).digest()


def _write(key: str, digest: bytes) -> str:
    return base64.urlsafe_b64encode(digest + key.encode()).decode()


def _read(token: str, digest: bytes) -> str:
    try:
        data = base64.b64decode(token.encode(), altchars=b"-_", validate=True)
        key = data[_DIGEST_BYTES:].decode()
    except (binascii.Error, UnicodeError):
        data, key = b"", ""
    if data[:_DIGEST_BYTES] != digest or not key:
        msg = (
            "page_token was not issued by this list for these fields; leave it empty to start "
            "again, and do not change other fields between pages"
        )
        raise InvalidRequest(msg, violations=[Violation("page_token", msg, "page.token")])
    return key
