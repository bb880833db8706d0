"""A generate request, read once into what the rest of the simulator asks about it."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from gemini_backend.upstream.simulator import tokens
from gemini_backend.upstream.simulator.requests.long_decode import WHOLE, Hop, essence
from gemini_backend.upstream.simulator.wire import Json, digest, encode

if TYPE_CHECKING:
    from collections.abc import Callable

    from gemini_backend.upstream.simulator.models import Model

T = TypeVar("T")

JSON_MIME = "application/json"
ENUM_MIME = "text/x.enum"
_READ = 65_536  # characters of a question
_DIRECTIVE = re.compile(r"\[\[(.*?)\]\]", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Ask:
    """What is asked, of whom.

    Attributes:
        model: Whose rules apply.
        served_by: Whose name the answer bears.
        request: The decoded request.
        cached: The cached content that goes before it, decoded, if it names one.
        seed: Thirty-two bytes that depend on model and request, the same for all hops.
        hop: Which part of the answer it is for.
        known: What has been found out of it already: each takes long where the request is large.
    """

    model: Model
    served_by: Model
    request: Json
    cached: Json | None
    seed: bytes
    hop: Hop = WHOLE
    known: dict[str, Any] = field(default_factory=dict, compare=False, repr=False)

    @classmethod
    def of(
        cls,
        model: Model,
        served_by: Model,
        request: Json,
        cached: Json | None,
        hop: Hop = WHOLE,
    ) -> Ask:
        """Reads ``request``."""
        same = essence(request) if hop.size else request
        return cls(model, served_by, request, cached, digest(model.name, encode(same)), hop)

    @property
    def contents(self) -> list[Json]:
        """The turns of this request, without those of the cached content."""
        turns: list[Json] = self.request.get("contents", [])
        return turns

    @property
    def config(self) -> Json:
        """The generation configuration."""
        config: Json = self.request.get("generationConfig", {})
        return config

    @property
    def thinking(self) -> Json:
        """The thinking configuration."""
        thinking: Json = self.config.get("thinkingConfig", {})
        return thinking

    @property
    def system(self) -> Json | None:
        """The system instruction."""
        return self.request.get("systemInstruction")

    def tool(self, name: str) -> Json | None:
        """The settings of a built-in tool, such as ``googleSearch``, if it is switched on."""
        for source in (self.request, self.cached or {}):
            for tool in source.get("tools", ()):
                if name in tool:
                    settings: Json = tool[name] or {}
                    return settings
        return None

    def functions(self) -> list[Json]:
        """All declared functions."""
        found: list[Json] = []
        for source in (self.request, self.cached or {}):
            for tool in source.get("tools", ()):
                found += tool.get("functionDeclarations", ())
        return found

    def calling(self) -> tuple[str, tuple[str, ...]]:
        """The function calling mode, and the names that it is limited to (none: all)."""
        source = self.request if "toolConfig" in self.request else (self.cached or {})
        settings = source.get("toolConfig", {}).get("functionCallingConfig", {})
        mode = settings.get("mode", "AUTO")
        names = tuple(settings.get("allowedFunctionNames", ()))
        return ("AUTO" if mode == "MODE_UNSPECIFIED" else mode), names

    def wants_json(self) -> bool:
        """Whether the answer must be JSON."""
        return self.config.get("responseMimeType") == JSON_MIME

    def schema(self) -> object:
        """The schema that the answer must fit, if any."""
        for name in ("responseJsonSchema", "_responseJsonSchema", "responseSchema"):
            if self.config.get(name) is not None:
                return self.config[name]
        return None

    def last_parts(self) -> list[Json]:
        """The parts of the last turn."""
        return self.contents[-1].get("parts", []) if self.contents else []

    def function_responses(self) -> list[Json]:
        """The function responses in the last turn."""
        return [
            part["functionResponse"] for part in self.last_parts() if "functionResponse" in part
        ]

    def find_out(self) -> None:
        """Finds out everything now that takes long."""
        self.question()
        self.directives()
        self.prompt_tokens()

    def question(self) -> str:
        """The user's last text, as far as anybody reads it, directives taken out."""
        return self._once("question", self._question)

    def directives(self) -> list[str]:
        """What stands in ``[[double brackets]]`` in the user's last turn."""
        return self._once("directives", self._directives)

    def prompt_tokens(self) -> dict[str, int]:
        """Tokens of everything that was sent, by modality, cached content included."""
        return dict(self._once("prompt", self._prompt_tokens))

    def cached_tokens(self) -> dict[str, int]:
        """Tokens of the cached content, by modality."""
        return prompt_tokens(self.cached) if self.cached else {}

    def _once(self, name: str, find: Callable[[], T]) -> T:
        if name not in self.known:
            self.known[name] = find()
        found: T = self.known[name]
        return found

    def _question(self) -> str:
        for content in reversed(self.contents):
            if content.get("role", "user") == "user":
                text = " ".join(part["text"] for part in content.get("parts", ()) if "text" in part)
                if text.strip():
                    return _DIRECTIVE.sub("", text).strip()[:_READ]
        return ""

    def _directives(self) -> list[str]:
        found: list[str] = []
        for part in self.last_parts():
            found += _DIRECTIVE.findall(part.get("text", ""))
        return found

    def _prompt_tokens(self) -> dict[str, int]:
        totals = dict(self.cached_tokens())
        for kind, number in prompt_tokens(self.request).items():
            totals[kind] = totals.get(kind, 0) + number
        return totals


def prompt_tokens(request: Json) -> dict[str, int]:
    """Tokens by modality of a request's turns, system instruction and tools."""
    contents = list(request.get("contents", ()))
    if "systemInstruction" in request:
        contents.append(request["systemInstruction"])
    totals = tokens.count_contents(contents)
    declared = [t for t in request.get("tools", ()) if "functionDeclarations" in t]
    if declared:
        totals["TEXT"] = totals.get("TEXT", 0) + tokens.count(encode(declared).decode())
    return totals
