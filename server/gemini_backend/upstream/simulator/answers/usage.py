"""``usageMetadata``: cumulative, and always adding up."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gemini_backend.upstream.simulator.tokens import details

if TYPE_CHECKING:
    from gemini_backend.upstream.simulator.requests import Ask
    from gemini_backend.upstream.simulator.wire import Json


class Usage:
    """Counts while an answer is being made."""

    def __init__(self, ask: Ask) -> None:
        """Counts the prompt.

        Args:
            ask: What is asked.
        """
        self._prompt = ask.prompt_tokens()
        # a later hop reads what the hops before it wrote
        self._prompt["TEXT"] = self._prompt.get("TEXT", 0) + ask.hop.offset
        self._cached = ask.cached_tokens()
        self.output = 0
        self.thoughts = 0
        self.tools = 0

    @property
    def prompt(self) -> int:
        """Tokens of the prompt, cached ones included."""
        return sum(self._prompt.values())

    def metadata(self) -> Json:
        """The counts so far."""
        out: Json = {"promptTokenCount": self.prompt}
        if self.output:
            out["candidatesTokenCount"] = self.output
        out["totalTokenCount"] = self.prompt + self.output + self.thoughts + self.tools
        if self._cached:
            out["cachedContentTokenCount"] = sum(self._cached.values())
        out["promptTokensDetails"] = details(self._prompt)
        if self._cached:
            out["cacheTokensDetails"] = details(self._cached)
        if self.tools:
            out["toolUsePromptTokenCount"] = self.tools
            out["toolUsePromptTokensDetails"] = details({"TEXT": self.tools})
        if self.thoughts:
            out["thoughtsTokenCount"] = self.thoughts
        out["serviceTier"] = "standard"
        return out
