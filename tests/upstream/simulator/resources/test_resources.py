"""Models, embeddings, files and cached contents.

Covers: upstream/simulator/answers/embeddings.py, upstream/simulator/models.py,
upstream/simulator/resources/caches.py, upstream/simulator/resources/files.py,
upstream/simulator/resources/listing.py, upstream/simulator/resources/paging.py,
upstream/simulator/resources/uploads.py
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.upstream.simulator.talker import Answer, Build, Clock, Talker

LONG = "The quick brown fox jumps over the lazy dog. " * 600


async def test_models_come_in_pages(gemini: Talker) -> None:
    """A page has at most pageSize models, and a token for the rest until there is none."""
    first = (await gemini.send("GET", "/v1beta/models?pageSize=7")).json
    names = [model["name"] for model in first["models"]]
    assert 7 == len(names)
    token, seen = first["nextPageToken"], names
    while token:
        page = (await gemini.send("GET", f"/v1beta/models?pageSize=7&pageToken={token}")).json
        seen += [model["name"] for model in page["models"]]
        token = page.get("nextPageToken", "")
    whole = (await gemini.send("GET", "/v1beta/models")).json
    assert seen == [model["name"] for model in whole["models"]]
    assert "nextPageToken" not in whole


@pytest.mark.parametrize("query", ["pageSize=x", "pageSize=-1", "pageToken=%21", "pageToken=abcd"])
async def test_bad_pages_are_refused(gemini: Talker, query: str) -> None:
    """A size or token that is none is a 400."""
    assert 400 == (await gemini.send("GET", f"/v1beta/models?{query}")).status


async def test_latest_is_on_v1beta_only(gemini: Talker) -> None:
    """v1 lists every model but the -latest ones."""
    beta = {m["name"] for m in (await gemini.send("GET", "/v1beta/models")).json["models"]}
    stable = {m["name"] for m in (await gemini.send("GET", "/v1/models")).json["models"]}
    assert all(name.endswith("-latest") for name in beta - stable)
    assert "models/gemini-flash-latest" in beta - stable
    assert set() == stable - beta


async def test_a_model_tells_its_limits(gemini: Talker) -> None:
    """A model has limits, methods, and says whether it thinks."""
    model = (await gemini.send("GET", "/v1beta/models/gemini-3.5-flash")).json
    assert "models/gemini-3.5-flash" == model["name"]
    assert (1_048_576, 65_536) == (model["inputTokenLimit"], model["outputTokenLimit"])
    assert "generateContent" in model["supportedGenerationMethods"]
    assert model["thinking"] is True
    assert 404 == (await gemini.send("GET", "/v1beta/models/nope")).status


async def test_an_alias_says_who_served(gemini: Talker) -> None:
    """The answer to a -latest model bears the name of the model behind it."""
    answer = await gemini.generate("Hi", "gemini-flash-latest")
    assert "gemini-3.8-flash" == answer.json["modelVersion"]


async def _vector(gemini: Talker, text: str, **fields: Any) -> list[float]:
    request = {"content": {"parts": [{"text": text}]}, **fields}
    answer = await gemini.call("embedContent", request, "gemini-embedding-2")
    values: list[float] = answer.json["embedding"]["values"]
    return values


async def test_embeddings_are_unit_vectors_of_the_words(gemini: Talker) -> None:
    """Vectors have 3,072 dimensions or as many as asked for, length 1, and depend on the words."""
    cats = await _vector(gemini, "cats chase mice")
    assert 3_072 == len(cats)
    assert math.isclose(1.0, sum(v * v for v in cats), rel_tol=1e-5)
    assert cats == await _vector(gemini, "cats chase mice")
    assert 768 == len(await _vector(gemini, "cats", outputDimensionality=768))
    near = await _vector(gemini, "mice chase cats today")
    far = await _vector(gemini, "stock prices fell")
    scores = [sum(a * b for a, b in zip(cats, v, strict=True)) for v in (near, far)]
    assert scores[0] > scores[1] + 0.3


async def test_a_batch_has_at_most_a_hundred(gemini: Talker) -> None:
    """A hundred requests are embedded; one more is Gemini's 400."""
    one = {"model": "models/gemini-embedding-001", "content": {"parts": [{"text": "x"}]}}
    good = await gemini.call(
        "batchEmbedContents", {"requests": [one] * 100}, "gemini-embedding-001"
    )
    assert 100 == len(good.json["embeddings"])
    bad = await gemini.call("batchEmbedContents", {"requests": [one] * 101}, "gemini-embedding-001")
    assert 400 == bad.status
    assert (
        "* BatchEmbedContentsRequest.requests: at most 100 requests can be in one batch\n"
    ) == bad.json["error"]["message"]


async def _upload(
    gemini: Talker, content: bytes, mime: str = "text/plain", **file: Any
) -> Callable[..., Awaitable[Answer]]:
    key = {"x-goog-api-key": "k"}
    start = await gemini.send(
        "POST",
        "/upload/v1beta/files",
        {"file": file},
        {
            **key,
            "X-Goog-Upload-Protocol": "resumable",
            "X-Goog-Upload-Command": "start",
            "X-Goog-Upload-Header-Content-Length": str(len(content)),
            "X-Goog-Upload-Header-Content-Type": mime,
        },
    )
    assert "active" == start.headers["X-Goog-Upload-Status"]
    url = start.headers["X-Goog-Upload-URL"].removeprefix(gemini.simulator.url)

    async def step(command: str, body: bytes = b"", offset: int = 0) -> Answer:
        # The address is a secret of its own: Google's clients send no key with what follows.
        headers = {"X-Goog-Upload-Command": command, "X-Goog-Upload-Offset": str(offset)}
        return await gemini.send("POST", url, body, headers)

    return step


async def test_a_file_is_uploaded_in_pieces(gemini: Talker) -> None:
    """Start, upload, query, finalize; the offset must be where the upload stands."""
    step = await _upload(gemini, b"hello world", display_name="Greeting")
    assert "active" == (await step("upload", b"hello ")).headers["X-Goog-Upload-Status"]
    assert "6" == (await step("query")).headers["X-Goog-Upload-Size-Received"]
    assert 400 == (await step("upload", b"world", 3)).status
    done = await step("upload, finalize", b"world", 6)
    assert "final" == done.headers["X-Goog-Upload-Status"]
    file = done.json["file"]
    assert ("Greeting", "text/plain", "11") == (
        file["displayName"],
        file["mimeType"],
        file["sizeBytes"],
    )
    assert "ACTIVE" == file["state"]
    assert 404 == (await step("query")).status


async def test_files_live_and_die(gemini: Talker) -> None:
    """A file can be looked at, listed, used and deleted; afterwards it is a 403."""
    step = await _upload(gemini, b"abc", name="files/my-file")
    file = (await step("upload, finalize", b"abc")).json["file"]
    assert "files/my-file" == file["name"]
    assert file == (await gemini.send("GET", "/v1beta/files/my-file")).json
    assert [file] == (await gemini.send("GET", "/v1beta/files")).json["files"]
    part = {"fileData": {"fileUri": file["uri"], "mimeType": "text/plain"}}
    request = {"contents": [{"parts": [{"text": "Sum up"}, part]}]}
    assert 200 == (await gemini.generate(request)).status
    assert {} == (await gemini.send("DELETE", "/v1beta/files/my-file")).json
    assert 403 == (await gemini.generate(request)).status
    assert {} == (await gemini.send("GET", "/v1beta/files")).json


async def test_a_taken_name_is_refused(gemini: Talker) -> None:
    """Two files cannot have one name."""
    for status in (200, 409):
        step = await _upload(gemini, b"abc", name="files/same")
        assert status == (await step("upload, finalize", b"abc")).status


async def test_a_video_is_processed_first(gemini: Talker) -> None:
    """A video is PROCESSING until it has been looked at, and cannot be used before."""
    step = await _upload(gemini, b"abc", "video/mp4")
    file = (await step("upload, finalize", b"abc")).json["file"]
    part = {"fileData": {"fileUri": file["uri"], "mimeType": "video/mp4"}}
    request = {"contents": [{"parts": [part]}]}
    assert 400 == (await gemini.generate(request)).status
    assert "PROCESSING" == (await gemini.send("GET", "/v1beta/" + file["name"])).json["state"]
    assert "ACTIVE" == (await gemini.send("GET", "/v1beta/" + file["name"])).json["state"]
    assert 200 == (await gemini.generate(request)).status


async def test_half_an_upload_cannot_be_finished(gemini: Talker) -> None:
    """Fewer bytes than announced are a 400."""
    step = await _upload(gemini, b"hello world")
    assert 400 == (await step("upload, finalize", b"hello")).status


async def test_cached_content_is_counted_as_cached(gemini: Talker, ask: Build) -> None:
    """A prompt on cached content has its tokens, marked as cached, within the prompt's."""
    request = {
        "model": "models/gemini-3.5-flash",
        "contents": ask(LONG)["contents"],
        "ttl": "120s",
    }
    made = await gemini.send("POST", "/v1beta/cachedContents", request)
    assert 200 == made.status
    name, total = made.json["name"], made.json["usageMetadata"]["totalTokenCount"]
    usage = (await gemini.generate({**ask("Sum up"), "cachedContent": name})).json["usageMetadata"]
    assert total == usage["cachedContentTokenCount"]
    assert usage["promptTokenCount"] > total
    assert [{"modality": "TEXT", "tokenCount": total}] == usage["cacheTokensDetails"]


async def test_cached_content_lives_and_dies(gemini: Talker, ask: Build, clock: Clock) -> None:
    """Cached content can be listed, prolonged and deleted, and ends when its time is up."""
    request = {"model": "models/gemini-3.5-flash", "contents": ask(LONG)["contents"]}
    name = (await gemini.send("POST", "/v1beta/cachedContents", {**request, "ttl": "60s"})).json[
        "name"
    ]
    path = f"/v1beta/{name}"
    assert 1 == len((await gemini.send("GET", "/v1beta/cachedContents")).json["cachedContents"])
    patched = await gemini.send("PATCH", path + "?updateMask=ttl", {"ttl": "300s"})
    assert 200 == patched.status
    clock.now += 200
    assert patched.json == (await gemini.send("GET", path)).json
    clock.now += 200
    gone = await gemini.send("GET", path)
    assert (403, "CachedContent not found (or permission denied)") == (
        gone.status,
        gone.json["error"]["message"],
    )
    assert 403 == (await gemini.generate({**ask("x"), "cachedContent": name})).status
    assert 403 == (await gemini.send("DELETE", path)).status


async def test_too_small_a_prompt_is_not_cached(gemini: Talker, ask: Build) -> None:
    """Below the model's minimum the 400 has both numbers."""
    request = {"model": "models/gemini-3.5-flash", "contents": ask("short")["contents"]}
    answer = await gemini.send("POST", "/v1beta/cachedContents", request)
    message = "Cached content is too small. total_token_count=2, min_total_token_count=4096"
    assert (400, message) == (answer.status, answer.json["error"]["message"])
