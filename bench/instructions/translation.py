"""Only the translation: a request to Gemini's JSON, and Gemini's JSON to messages."""

from __future__ import annotations

import http.client
from typing import TYPE_CHECKING

from gemini.backend.v1 import execute_service_pb2 as pb
from gemini_backend.upstream.gemini.answer import unary_answer
from gemini_backend.upstream.gemini.answer.stream_answer import AnswerStream
from gemini_backend.upstream.gemini.body.sse import EventReader
from gemini_backend.upstream.gemini.failure.classification import Failures
from gemini_backend.upstream.gemini.requests import generate

if TYPE_CHECKING:
    from collections.abc import Sequence

EVENT_BYTES = 64 * 1024 * 1024
MODEL = "models/bench"
END = b"\r\n\r\n"


class Translation:
    """Translates what the upstream answers, without asking it again."""

    def __init__(self, upstream: str, lengths: Sequence[int]) -> None:
        """Fetch a whole answer, and streams of so many events, of the upstream at HOST:PORT."""
        self._failures = Failures(lambda: ())
        self._whole = fetched(upstream, "bench-unary:generateContent")
        self._streams = {
            length: fetched(upstream, f"bench-burstx{length}:streamGenerateContent?alt=sse")
            for length in lengths
        }

    def whole(self, body: bytes) -> int:
        """Translate a request and a whole answer; returns the number of messages."""
        generate.generate(pb.ExecuteRequest.FromString(body), [])
        unary_answer.response(self._whole, MODEL, self._failures, continued=False)
        return 1

    def stream(self, body: bytes, events: int) -> int:
        """Translate a request and a stream, event by event; returns the number of messages."""
        generate.generate(pb.ExecuteRequest.FromString(body), [])
        reader = EventReader(EVENT_BYTES)
        answer = AnswerStream(MODEL, self._failures, merge=True, continued=False)
        messages = 0
        for data in self._streams[events].split(END)[:-1]:
            messages += len(answer.feed(reader.feed(data + END)))
        answer.feed(reader.finish())
        return messages + len(answer.finish())


def fetched(upstream: str, call: str) -> bytes:
    """Returns the body that the upstream answers."""
    connection = http.client.HTTPConnection(upstream)
    try:
        connection.request("POST", f"/v1beta/models/{call}", b"{}")
        return connection.getresponse().read()
    finally:
        connection.close()
