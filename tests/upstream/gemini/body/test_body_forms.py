"""Bodies are read by what they hold, whatever their label says."""

from __future__ import annotations

import asyncio
import gzip
import json
import zlib
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web

from gemini.backend.v1 import content_pb2 as content
from gemini.backend.v1 import execute_service_pb2 as pb
from gemini_backend import errors
from gemini_backend.upstream.base import EmbedBatch
from gemini_backend.upstream.gemini.answer import unary_answer
from gemini_backend.upstream.gemini.client import GeminiUpstream
from gemini_backend.upstream.gemini.failure.classification import Failures
from gemini_backend.upstream.gemini.failure.error_body import ErrorBody
from gemini_backend.upstream.gemini.options import GeminiOptions
from gemini_backend.upstream.gemini.requests import embeddings
from gemini_backend.upstream.gemini.requests.listing import Listing
from tests.upstream.gemini.answer.test_answer_end import end
from tests.upstream.gemini.answer.test_stream_answer import event, texts
from tests.upstream.gemini.connection.test_end_of_body import play
from tests.upstream.gemini.script import Script, apart
from tests.upstream.gemini.test_client import COUNT, REQUEST, collect

if TYPE_CHECKING:
    from gemini_backend.call import Call
    from tests.support.clock import FakeClock
    from tests.upstream.gemini.conftest import FakeApi

A, B = event("hello "), {**end(), "candidates": event("world", finishReason="STOP")["candidates"]}
W = {**B, "candidates": event("hello world", finishReason="STOP")["candidates"]}
OVERLOADED = {"error": {"code": 503, "message": "overloaded", "status": "UNAVAILABLE"}}
BOM = b"\xef\xbb\xbf"


def sse(*events: Any, line_end: bytes = b"\r\n") -> bytes:
    """Return an event stream."""
    return b"".join(b"data: " + json.dumps(e).encode() + 2 * line_end for e in events)


def raw(value: Any) -> bytes:
    """Return JSON."""
    return json.dumps(value).encode()


FORMS = {
    "events": sse(A, B),
    "events, LF": sse(A, B, line_end=b"\n"),
    "events, CR": sse(A, B, line_end=b"\r"),
    "events, BOM": BOM + sse(A, B),
    "events without empty lines": sse(A, B).replace(b"\r\n\r\n", b"\n"),
    "events over several lines": b"".join(
        b"".join(b"data: " + line.encode() + b"\n" for line in json.dumps(e, indent=1).split("\n"))
        + b"\n"
        for e in (A, B)
    ),
    "events, each an array": sse([A], [B]),
    "events in a wrapping": sse({"response": A}, {"response": B, "traceId": "t"}),
    "events, last empty line missing": sse(A, B)[:-4],
    "events, labelled twice": sse(A, B).replace(b"data: ", b"data: data: "),
    "array": raw([A, B]),
    "array, BOM": BOM + raw([A, B]),
    "array over lines": b"\n" + json.dumps([A, B], indent=2).encode() + b"\n",
    "array in a wrapping": raw([{"response": A}, {"response": B}]),
    "array with null": raw([None, A, None, B, None]),
    "objects, one a line": raw(A) + b"\n" + raw(B) + b"\n",
    "one object": raw(W),
    "one object, BOM and blanks": BOM + b"\r\n\t " + raw(W) + b"\n",
    "one object in an array": raw([W]),
    "one object in a wrapping": raw({"response": W}),
    "duplicate keys": raw(W).replace(b'"responseId"', b'"responseId": "r0", "responseId"'),
    "one object in a wrapping, usage beside it": raw(
        {
            "response": {name: value for name, value in W.items() if name != "usageMetadata"},
            "usageMetadata": W["usageMetadata"],
        }
    ),
    "one object in a wrapping, nulls beside it": raw(
        {"response": W, "error": None, "candidates": None}
    ),
    "one object, null among candidates and parts": raw(
        {
            **W,
            "candidates": [
                None,
                {
                    "content": {"parts": [None, {"text": "hello world"}, None], "role": "model"},
                    "finishReason": "STOP",
                },
                None,
            ],
        }
    ),
    "one event": sse(W),
}
LABELS = ["text/event-stream", "application/json", "text/plain", "text/html", ""]


@pytest.mark.parametrize("size", [0, 1, 7])
@pytest.mark.parametrize("form", FORMS)
async def test_a_stream_of_any_form_is_read(clock: FakeClock, form: str, size: int) -> None:
    """In one read or cut anywhere."""
    body = FORMS[form]
    reads = [body[i : i + size] for i in range(0, len(body), size)] if size else [body]
    found, error, _ = await play(clock, Script(clock, *reads), merge=True)
    assert error is None
    assert "hello world" == "".join(texts(found))
    done = found[-1].completed
    assert content.USAGE_QUALITY_EXACT == done.usage.quality
    assert [] == list(done.warnings)


@pytest.mark.parametrize("form", FORMS)
def test_a_whole_answer_of_any_form_is_read(form: str) -> None:
    """Pieces are put together, with the last usage."""
    made = unary_answer.response(FORMS[form], "models/m", Failures())
    made = pb.ProcessResponse.FromString(made.SerializeToString())
    (candidate,) = made.candidates
    assert ["hello world"] == [part.text for part in candidate.content.parts]
    assert content.FINISH_REASON_STOP == candidate.finish_reason
    assert (5, content.USAGE_QUALITY_EXACT) == (made.usage.total_token_count, made.usage.quality)
    assert ("models/m", "m-001") == (made.started.model, made.started.model_version)


@pytest.mark.parametrize(
    "body",
    [
        sse(A),
        sse(A)[:-4],
        b": ping\n\n" + sse(A, line_end=b"\n"),
        sse(A).replace(b"\r\n\r\n", b"\n"),
        b"".join(
            b"data: " + line + b"\n" for line in json.dumps(A, indent=1).encode().split(b"\n")
        ),
        sse([A]),
        sse({"response": A}),
        sse({**A, "novel": float("nan")}),
        sse(A, A),
    ],
)
def test_events_without_a_finish_reason_are_no_whole_answer(body: bytes) -> None:
    """Nothing else shows that a body of events, be it of one, was not cut between two."""
    with pytest.raises(errors.StreamCut):
        unary_answer.response(body, "models/m", Failures())


@pytest.mark.parametrize("more", [{}, {"novel": 1}])
@pytest.mark.parametrize("index", [{}, {"index": None}, {"index": "x"}])
def test_candidates_of_a_whole_answer_without_an_index_are_numbered(
    index: dict[str, Any], more: dict[str, Any]
) -> None:
    """By their places, so that two texts stay two; where one has an index all is left as it is."""
    turns = [
        {"content": {"parts": [{"text": text}]}, "finishReason": "STOP", **index}
        for text in ("a", "b")
    ]
    made = unary_answer.response(raw({**W, **more, "candidates": turns}), "models/m", Failures())
    assert [0, 1] == [one.index for one in made.candidates]
    turns[0]["index"] = 5
    made = unary_answer.response(raw({**W, **more, "candidates": turns}), "models/m", Failures())
    assert [5, 0] == [one.index for one in made.candidates]


@pytest.mark.parametrize("body", [raw(A), raw([A]), raw({**A, "novel": [float("nan"), "data:"]})])
def test_json_shows_by_itself_that_it_is_whole(body: bytes) -> None:
    """Strict or not: a finish reason is not asked for."""
    made = unary_answer.response(body, "models/m", Failures())
    assert "hello " == made.candidates[0].content.parts[0].text


@pytest.mark.parametrize("label", LABELS)
@pytest.mark.parametrize("form", ["events", "array", "one object"])
async def test_the_label_of_a_body_does_not_matter(
    api: FakeApi, upstream: GeminiUpstream, call: Call, form: str, label: str
) -> None:
    """Nor whether it is chunked, nor how it is packed though nobody asked for that."""
    for packing, packed in (
        ("identity", FORMS[form]),
        ("gzip", gzip.compress(FORMS[form])),
        ("deflate", zlib.compress(FORMS[form])),
    ):
        for chunked in (True, False):
            headers = {"Content-Encoding": packing, "Content-Type": label}

            async def answer(
                request: web.Request,
                headers: dict[str, str] = headers,
                packed: bytes = packed,
                chunked: bool = chunked,
            ) -> web.StreamResponse:
                if not chunked:
                    return web.Response(body=packed, headers=headers)
                response = web.StreamResponse(headers=headers)
                await response.prepare(request)
                await response.write(packed[:9])
                await asyncio.sleep(0)
                await response.write(packed[9:])
                return response

            api.answer = answer
            events = await collect(upstream.stream(call, REQUEST))
            assert "hello world" == "".join(texts(events))
            made = await upstream.process(call, REQUEST)
            assert "hello world" == made.candidates[0].content.parts[0].text


@pytest.mark.parametrize("packing", ["br", "zstd"])
async def test_a_packing_that_cannot_be_undone_is_named(
    api: FakeApi, upstream: GeminiUpstream, call: Call, packing: str
) -> None:
    """It was not asked for, and another attempt would not help."""

    async def packed(_request: web.Request) -> web.StreamResponse:
        return web.Response(body=b"packed", headers={"Content-Encoding": packing})

    api.answer = packed
    with pytest.raises(errors.MalformedAnswer, match="compresses") as raised:
        await collect(upstream.stream(call, REQUEST))
    assert raised.value.lasting


@pytest.mark.parametrize(
    "pieces",
    [
        [b"[" + raw(A), b",\r\n" + raw(B), b"]"],
        [b"[\n" + raw(A) + b"\n", b",\n" + raw(B) + b"\n", b"]\n"],
        [raw(A), b"\n" + raw(B)],
        [b"data: " + raw(A) + b"\n", b"data: " + raw(B) + b"\n"],
        [BOM + sse(A), sse(B)],
    ],
)
async def test_a_piece_is_handed_on_when_it_is_there(clock: FakeClock, pieces: list[bytes]) -> None:
    """No form of body delays one piece to the next, or to the end."""
    script = Script(clock, *apart(pieces, 40.0))
    found, error, _ = await play(clock, script, idle=50.0)
    assert error is None
    assert ["hello ", "world"] == texts(found)


@pytest.mark.parametrize(
    "body",
    [
        raw([OVERLOADED]),
        raw(OVERLOADED),
        sse(OVERLOADED),
        sse([OVERLOADED]),
        BOM + raw(OVERLOADED),
        raw({"error": "overloaded"}),
        raw({"response": OVERLOADED}),
        b"event: error\ndata: " + raw(OVERLOADED["error"]) + b"\n\n",
        b"event: error\ndata: overloaded\n\n",
        b": ping\n\n" + json.dumps(OVERLOADED, indent=1).encode(),
    ],
)
async def test_an_error_inside_a_200_is_that_error(clock: FakeClock, body: bytes) -> None:
    """In any form, without a last line end, in a stream and in a whole answer."""
    found, error, _ = await play(clock, Script(clock, body))
    assert [] == found
    assert isinstance(error, errors.UpstreamUnavailable)
    assert "overloaded" in error.message
    found, error, _ = await play(clock, Script(clock, sse(A), body, None))
    assert "hello " == "".join(texts(found))
    assert isinstance(error, errors.UpstreamUnavailable)
    with pytest.raises(errors.UpstreamUnavailable, match="overloaded"):
        unary_answer.response(body, "models/m", Failures())


@pytest.mark.parametrize(
    "body", [b"", b"\n \r\n", BOM, b": ping\n\n", b"data:\n\n", b"data: null\n\n", b"[]", b"null"]
)
async def test_a_body_that_holds_nothing_is_an_empty_answer(clock: FakeClock, body: bytes) -> None:
    """Whatever keeps a connection alive."""
    found, error, _ = await play(clock, Script(clock, *([body] if body else [])))
    assert [] == found
    assert isinstance(error, errors.EmptyAnswer)
    with pytest.raises(errors.EmptyAnswer):
        unary_answer.response(body, "models/m", Failures())


HTML = b"<!DOCTYPE html>\n<html><head><title>Log in</title></head></html>\n"


@pytest.mark.parametrize("body", [HTML, b"\xfe\xff\x00{", b"overloaded", b"220 mail ESMTP\r\n"])
async def test_what_is_no_answer_is_malformed(clock: FakeClock, body: bytes) -> None:
    """A page labelled as an answer among them; it is worth another try."""
    found, error, _ = await play(clock, Script(clock, body))
    assert [] == found
    assert isinstance(error, errors.MalformedAnswer)
    assert error.retryable
    assert ("a web page instead of an answer" in error.message) == body.startswith(b"<")
    with pytest.raises(errors.MalformedAnswer):
        unary_answer.response(body, "models/m", Failures())


@pytest.mark.parametrize("form", FORMS)
def test_half_a_whole_answer_is_a_cut(form: str) -> None:
    """An answer that ends in its middle is no answer, and none that is malformed."""
    body = FORMS[form].rstrip()
    with pytest.raises(errors.StreamCut):
        unary_answer.response(body[: len(body) - 20], "models/m", Failures())


@pytest.mark.parametrize(
    ("tail", "codes"),
    [
        (b"\0\0", ["TRAILING_DATA"]),
        (b"\n<!-- proxy -->\n", ["TRAILING_DATA"]),
        (b"[DONE]", []),
        (b"\ndata: null\n\n", []),
    ],
)
def test_what_follows_a_whole_answer_does_not_fail_it(tail: bytes, codes: list[str]) -> None:
    """The caller is warned of what cannot be read."""
    made = unary_answer.response(raw(W) + tail, "models/m", Failures())
    assert "hello world" == made.candidates[0].content.parts[0].text
    assert codes == [warning.code for warning in made.started.warnings]


@pytest.mark.parametrize("lost", [True, False])
async def test_whole_json_needs_no_other_end(
    api: FakeApi, call: Call, clock: FakeClock, *, lost: bool
) -> None:
    """A connection that breaks off behind it, or stays open, costs no second attempt."""

    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        await response.write(raw(W) + b"\n")
        await asyncio.sleep(0.05)
        if lost:
            assert request.transport is not None
            request.transport.abort()
        else:
            await asyncio.sleep(60)
        return response

    api.answer = answer
    upstream = GeminiUpstream(GeminiOptions(base_url=api.base_url, api_keys=("k",)), clock)
    task = asyncio.ensure_future(upstream.process(call, REQUEST))
    while not task.done():
        await asyncio.sleep(0.01)
        await clock.advance(10)
    made = await task
    assert "hello world" == made.candidates[0].content.parts[0].text
    await upstream.aclose()


OTHER = {
    "BOM": lambda body: BOM + body,
    "array": lambda body: b"[" + body + b"]",
    "event": lambda body: b"data: " + body + b"\n\n",
    "wrapping": lambda body: b'{"response": ' + body + b"}",
    "blanks": lambda body: b"\n\n " + body + b"\n",
}


@pytest.mark.parametrize("form", OTHER)
async def test_counts_vectors_and_lists_of_any_form_are_read(
    api: FakeApi, upstream: GeminiUpstream, call: Call, form: str
) -> None:
    """As answers are."""
    wrap = OTHER[form]
    api.replies(wrap(b'{"totalTokens": 7}'))
    assert 7 == (await upstream.count_tokens(call, COUNT)).total_tokens
    batch = EmbedBatch("models/m", [pb.EmbedRequest(contents=[{}])])
    made = embeddings.response(wrap(b'{"embeddings": [{"values": [0.5]}]}'), batch, Failures())
    assert [0.5] == made.embeddings[0].values
    with pytest.raises(errors.UpstreamUnavailable):
        embeddings.response(wrap(raw(OVERLOADED)), batch, Failures())
    listing = Listing()
    listing.take(wrap(b'{"models": [{"name": "models/a"}]}'))
    assert ["models/a"] == [model.name for model in listing.models]


@pytest.mark.parametrize("form", ["BOM", "array", "event", "blanks"])
def test_error_bodies_of_any_form_are_read(form: str) -> None:
    """With a status of their own."""
    found = ErrorBody.parse(503, OTHER[form](raw(OVERLOADED)))
    assert found is not None
    assert "overloaded" == found.reply.message


async def test_an_event_may_be_as_large_as_a_body(clock: FakeClock) -> None:
    """What Process takes streams as well: 64 MiB, by default."""
    options = GeminiOptions()
    assert options.max_body_bytes == options.max_event_bytes
    large = event("x" * (20 << 20), finishReason="STOP")
    body = sse(large)
    reads = [body[i : i + 65536] for i in range(0, len(body), 65536)]
    found, error, _ = await play(clock, Script(clock, *reads))
    assert error is None
    assert 20 << 20 == len("".join(texts(found)))
