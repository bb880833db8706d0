"""The head of a request."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from yarl import URL

    from gemini_backend.upstream.gemini.connection.dialing import RequestForm


def request_head(
    method: str, url: URL, headers: Mapping[str, str], length: int | None, form: RequestForm
) -> bytes:
    """Return the head of a request, its empty line included.

    Args:
        method: GET or POST.
        url: Where to; scheme and host are those of the connection's origin.
        headers: What it has beside Host, User-Agent and Content-Length.
        length: Bytes of its body; None for none.
        form: How requests are written on the connection.

    Raises:
        ValueError: a header cannot be written.
    """
    text = _opening(method, url, form.prefix, (*headers.items(), *form.headers))
    if length is not None:
        text = f"{text}Content-Length: {length}\r\n"
    return f"{text}\r\n".encode()


@lru_cache(maxsize=512)
def _opening(method: str, url: URL, prefix: str, headers: tuple[tuple[str, str], ...]) -> str:
    """Return all but the length of the body, which is the same for most requests with a key."""
    lines = [
        f"{method} {prefix}{url.raw_path_qs} HTTP/1.1",
        f"Host: {url.host_port_subcomponent}",
        "User-Agent: gemini-backend",
        *(f"{name}: {value}" for name, value in headers),
    ]
    text = "\r\n".join(lines)
    if text.count("\n") != len(lines) - 1 or text.count("\r") != len(lines) - 1 or "\0" in text:
        msg = "a header contains a line end"
        raise ValueError(msg)
    return text + "\r\n"
