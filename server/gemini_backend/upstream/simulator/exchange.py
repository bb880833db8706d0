"""One request on its way through the simulator."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from aiohttp import web

from gemini_backend.upstream.simulator.wire import JSON_TYPE, encode

if TYPE_CHECKING:
    from gemini_backend.upstream.simulator.faults.fault import Fault
    from gemini_backend.upstream.simulator.faults.transport import Transmission
    from gemini_backend.upstream.simulator.models import Models
    from gemini_backend.upstream.simulator.wire import Json

VARY = ("Origin", "X-Origin", "Referer")


@dataclass(slots=True)
class SimulatedExchange:
    """One request, and what is known of it.

    Attributes:
        request: The request.
        method: Gemini's name of the method, such as ``generateContent``.
        version: ``v1`` or ``v1beta``.
        name: The model or resource, without the collection before it.
        body: The bytes that came.
        entry: What the journal remembers of it.
        models: The models that there are.
        faults: What goes wrong with it.
        transmission: The stream that answers it, once there is one.
    """

    request: web.BaseRequest
    method: str
    version: str
    name: str
    body: bytes
    entry: Json
    models: Models
    faults: list[Fault] = field(default_factory=list)
    transmission: Transmission | None = None

    @property
    def key(self) -> str:
        """The API key, from the header or the query."""
        header = self.request.headers.get("x-goog-api-key", "")
        bearer = self.request.headers.get("authorization", "").removeprefix("Bearer ")
        return header or self.request.query.get("key", "") or bearer

    @property
    def wants_array(self) -> bool:
        """Whether a stream goes out as one JSON array."""
        streams = self.method == "streamGenerateContent"
        return streams and self.request.query.get("alt") != "sse"

    def fault(self, name: str) -> Fault | None:
        """The last fault called ``name`` of this request."""
        return next((f for f in reversed(self.faults) if f.fault == name), None)


def headers(content_type: str) -> dict[str, str]:
    """What Gemini's answers bear, ``vary`` aside."""
    return {
        "Content-Type": content_type,
        "Server-Timing": "gfet4t7; dur=7",
        "Server": "scaffolding on HTTPServer2",
    }


def json_response(request: web.BaseRequest, payload: object, status: int = 200) -> web.Response:
    """A whole JSON answer, compressed where the client asked for it."""
    return text_response(request, encode(payload), JSON_TYPE, status)


def text_response(
    request: web.BaseRequest, body: bytes, content_type: str, status: int = 200
) -> web.Response:
    """A whole answer of any type."""
    response = web.Response(status=status, headers=headers(content_type))
    for name in VARY:
        response.headers.add("Vary", name)
    if "gzip" in request.headers.get("Accept-Encoding", ""):
        response.headers["Content-Encoding"] = "gzip"
        body = zlib.compress(body, level=1, wbits=31)
    response.body = body
    response.enable_chunked_encoding()
    return response
