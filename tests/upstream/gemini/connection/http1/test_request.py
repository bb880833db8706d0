"""How a request is written."""

from __future__ import annotations

import pytest
from yarl import URL

from gemini_backend.upstream.gemini.connection.dialing import RequestForm
from gemini_backend.upstream.gemini.connection.http1.request import request_head

DIRECT = RequestForm("", ())
URL_OF = URL("http://api.test:81/v1beta/models/m:countTokens?alt=sse", encoded=True)


def test_a_request_has_its_headers_and_no_others() -> None:
    """Host and User-Agent, those given, and the length of the body."""
    assert (
        b"POST /v1beta/models/m:countTokens?alt=sse HTTP/1.1\r\n"
        b"Host: api.test:81\r\n"
        b"User-Agent: gemini-backend\r\n"
        b"x-goog-api-key: k\r\n"
        b"Content-Length: 3\r\n\r\n"
    ) == request_head("POST", URL_OF, {"x-goog-api-key": "k"}, 3, DIRECT)


def test_a_proxy_is_asked_by_the_whole_address() -> None:
    """With what it wants to know."""
    form = RequestForm("http://api.test:81", (("Proxy-Authorization", "Basic x"),))
    head = request_head("GET", URL_OF, {}, None, form)
    assert head.startswith(b"GET http://api.test:81/v1beta/models/m:countTokens?alt=sse HTTP/1.1")
    assert b"\r\nProxy-Authorization: Basic x\r\n\r\n" in head
    assert b"Content-Length" not in head


@pytest.mark.parametrize("value", ["a\r\nX-B: c", "a\nb", "a\rb", "a\0b"])
def test_a_header_cannot_bring_another_one(value: str) -> None:
    """It is refused."""
    with pytest.raises(ValueError, match="line end"):
        request_head("GET", URL_OF, {"X-A": value}, None, DIRECT)
