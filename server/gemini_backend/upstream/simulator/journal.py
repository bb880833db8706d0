"""What the simulator remembers of the requests that it got, for tests and curious people."""

from __future__ import annotations

from collections import Counter, deque
from typing import TYPE_CHECKING
from urllib.parse import urlencode

import msgspec

if TYPE_CHECKING:
    from aiohttp import web

    from gemini_backend.upstream.simulator.options import SimulatorOptions
    from gemini_backend.upstream.simulator.wire import Json

_SECRET_HEADERS = frozenset({"x-goog-api-key", "authorization", "cookie", "proxy-authorization"})
MAX_ABORTS = 1_000


class RequestJournal:
    """Recent requests in a ring, and counts of all."""

    def __init__(self, options: SimulatorOptions) -> None:
        """Starts empty.

        Args:
            options: How much to remember.
        """
        self._now = options.now
        self._body = options.recorded_body
        self._requests: deque[Json] = deque(maxlen=options.recent_requests)
        self._aborts: deque[Json] = deque(maxlen=MAX_ABORTS)
        self._methods: Counter[str] = Counter()
        self._statuses: Counter[int] = Counter()
        self._aborted = 0
        self.total = 0
        self.streams_open = 0

    def record(self, request: web.BaseRequest, method: str, model: str, body: bytes) -> Json:
        """Remembers a request; the entry is filled in as it goes on."""
        self.total += 1
        self._methods[method] += 1
        query = [(k, v) for k, v in request.query.items() if k not in ("key", "access_token")]
        path = request.path + ("?" + urlencode(query) if query else "")
        entry: Json = {
            "number": self.total,
            "time": self._now(),
            "http_method": request.method,
            "method": method,
            "path": path,
            "model": model,
            "headers": {
                name.lower(): value
                for name, value in request.headers.items()
                if name.lower() not in _SECRET_HEADERS
            },
            # Read only when somebody looks.
            "body": body[: self._body + 1],
        }
        self._requests.append(entry)
        return entry

    def answered(self, entry: Json, status: int) -> None:
        """Notes the status that a request got."""
        entry["status"] = status
        self._statuses[status] += 1

    def aborted(self, entry: Json, events: int) -> None:
        """Notes that the client went away in the middle of an answer."""
        self._aborted += 1
        entry["aborted_at"] = self._now()
        self._aborts.append(
            {
                "number": entry["number"],
                "method": entry["method"],
                "model": entry["model"],
                "time": entry["aborted_at"],
                "events_sent": events,
            }
        )

    def requests(self, limit: int) -> list[Json]:
        """The last ``limit`` requests, the newest last."""
        recent = list(self._requests)[-limit:] if limit > 0 else []
        return [{**entry, "body": self._readable(entry["body"])} for entry in recent]

    def stats(self) -> Json:
        """Counts of everything so far."""
        return {
            "requests": self.total,
            "by_method": dict(self._methods),
            "by_status": {str(code): number for code, number in self._statuses.items()},
            "streams_open": self.streams_open,
            "aborted": self._aborted,
            "aborts": list(self._aborts),
        }

    def _readable(self, body: bytes) -> object:
        if not body:
            return None
        if len(body) > self._body:
            return f"more than {self._body} bytes"
        try:
            decoded: object = msgspec.json.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return f"{len(body)} bytes that are not JSON"
        return decoded
