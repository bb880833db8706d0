"""The resumable upload protocol: start, upload, finalize, query, cancel."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import msgspec
from aiohttp import web

from gemini_backend.upstream.simulator.errors import ApiError, invalid
from gemini_backend.upstream.simulator.exchange import VARY, SimulatedExchange, headers
from gemini_backend.upstream.simulator.wire import JSON_TYPE, encode, identifier

if TYPE_CHECKING:
    from gemini_backend.upstream.simulator.options import SimulatorOptions
    from gemini_backend.upstream.simulator.resources.files import Files
    from gemini_backend.upstream.simulator.wire import Json

GRANULARITY = 262_144
_PREFIX = "X-Goog-Upload-"


@dataclass(slots=True)
class _Upload:
    """An upload that has begun."""

    wanted: Json
    mime_type: str
    announced: int | None
    received: bytearray = field(default_factory=bytearray)


class Uploads:
    """All uploads under way."""

    def __init__(self, options: SimulatorOptions, files: Files) -> None:
        """Starts without any.

        Args:
            options: How many uploads there may be, and how large.
            files: Where what was uploaded goes.
        """
        self._options = options
        self._files = files
        self._uploads: dict[str, _Upload] = {}
        self._begun = 0

    async def handle(self, exchange: SimulatedExchange) -> web.StreamResponse:
        """One step of an upload, named by ``X-Goog-Upload-Command``.

        Raises:
            ApiError: If the step does not fit.
        """
        request = exchange.request
        commands = {c.strip() for c in request.headers.get(_PREFIX + "Command", "").split(",")}
        if "start" in commands:
            return self._start(exchange)
        upload_id = request.query.get("upload_id", "")
        upload = self._uploads.get(upload_id)
        if upload is None:
            raise ApiError("NOT_FOUND", "Upload session not found: start a new upload.")
        if "query" in commands:
            size = str(len(upload.received))
            return _answer(b"", "active", {_PREFIX + "Size-Received": size})
        if "cancel" in commands:
            del self._uploads[upload_id]
            return _answer(b"", "cancelled")
        if "upload" in commands:
            self._append(upload, exchange)
        if "finalize" in commands:
            return self._finalize(upload_id, upload, exchange)
        if "upload" not in commands:
            raise invalid("X-Goog-Upload-Command must be start, upload, finalize, query or cancel.")
        return _answer(b"", "active")

    def _start(self, exchange: SimulatedExchange) -> web.StreamResponse:
        request = exchange.request
        protocol = request.headers.get(_PREFIX + "Protocol", "")
        if protocol != "resumable":
            raise invalid(
                "The simulator takes resumable uploads: X-Goog-Upload-Protocol: resumable"
            )
        try:
            wanted = msgspec.json.decode(exchange.body, type=dict) if exchange.body else {}
        except msgspec.DecodeError as error:
            raise invalid("Invalid JSON payload received.") from error
        length = request.headers.get(_PREFIX + "Header-Content-Length", "")
        self._begun += 1
        upload_id = identifier(40, "upload", self._begun)
        while len(self._uploads) >= self._options.max_resources:
            del self._uploads[next(iter(self._uploads))]
        self._uploads[upload_id] = _Upload(
            wanted.get("file", {}),
            request.headers.get(_PREFIX + "Header-Content-Type", ""),
            int(length) if length.isdecimal() else None,
        )
        url = request.url.with_query(upload_id=upload_id, upload_protocol="resumable")
        extra = {
            _PREFIX + "URL": str(url),
            _PREFIX + "Control-URL": str(url),
            _PREFIX + "Chunk-Granularity": str(GRANULARITY),
        }
        return _answer(b"", "active", extra, "text/plain; charset=utf-8")

    def _append(self, upload: _Upload, exchange: SimulatedExchange) -> None:
        offset = exchange.request.headers.get(_PREFIX + "Offset", "0")
        if offset != str(len(upload.received)):
            raise invalid(
                f"The offset {offset} is not where the upload stands: {len(upload.received)}."
            )
        if len(upload.received) + len(exchange.body) > self._options.max_body:
            raise invalid("The file is larger than the simulator takes.")
        upload.received += exchange.body

    def _finalize(
        self, upload_id: str, upload: _Upload, exchange: SimulatedExchange
    ) -> web.StreamResponse:
        announced = upload.announced
        if announced is not None and announced != len(upload.received):
            raise invalid(
                f"Got {len(upload.received)} bytes of the {announced} that were announced."
            )
        base = f"{exchange.request.url.origin()}/{exchange.version}"
        file = self._files.add(upload.wanted, upload.mime_type, bytes(upload.received), base)
        del self._uploads[upload_id]
        return _answer(encode({"file": file}), "final")


def _answer(
    body: bytes, status: str, extra: dict[str, str] | None = None, content_type: str = JSON_TYPE
) -> web.Response:
    head = {**headers(content_type), _PREFIX + "Status": status, **(extra or {})}
    response = web.Response(body=body, headers=head)
    for name in VARY:
        response.headers.add("Vary", name)
    return response
