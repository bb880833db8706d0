"""A whole answer. No I/O."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from gemini.backend.v1.content_pb2 import Content, FinishReason

if TYPE_CHECKING:
    from gemini.backend.v1.content_pb2 import Cost, FunctionCall, Usage
    from gemini.backend.v1.execute_service_pb2 import Delta, ProcessResponse

__all__ = ["Answer", "text_of"]


class Answer:
    """A whole answer.

    Attributes:
        response: the message itself, with every candidate and all that came with it.
    """

    def __init__(self, response: ProcessResponse) -> None:
        """Wrap `response`."""
        self.response = response

    def __str__(self) -> str:
        """Return the text."""
        return self.text

    def __repr__(self) -> str:
        """Show what it is about, not the answer itself."""
        return f"Answer(execution_id={self.execution_id!r}, finish_reason={self.finish_reason!r})"

    @property
    def content(self) -> Content:
        """The first candidate's turn, thoughts and their signatures included.

        Send it back unchanged, after it the next turn, to go on with the conversation.
        """
        candidates = self.response.candidates
        return candidates[0].content if candidates else Content()

    @property
    def text(self) -> str:
        """The first candidate's text, without thoughts."""
        return text_of(self.content, thought=False)

    @property
    def thoughts(self) -> str:
        """The summary of the first candidate's thinking; empty unless it was asked for."""
        return text_of(self.content, thought=True)

    @property
    def function_calls(self) -> list[FunctionCall]:
        """The functions that the first candidate asks to be called, in order."""
        return [p.function_call for p in self.content.parts if p.HasField("function_call")]

    @property
    def finish_reason(self) -> str:
        """Why the model stopped, by Gemini's name: "STOP", "MAX_TOKENS", "SAFETY" ..."""
        if not self.response.candidates:
            return ""
        candidate = self.response.candidates[0]
        if candidate.finish_reason_raw or not candidate.finish_reason:
            return candidate.finish_reason_raw
        return FinishReason.Name(candidate.finish_reason).removeprefix("FINISH_REASON_")

    @property
    def execution_id(self) -> str:
        """The execution's name, `executions/{execution}`, as in the server's log."""
        return self.response.execution

    @property
    def replay_of(self) -> str:
        """The execution that gave the answer, if a request was repeated in a session; else empty.

        The turn had been stored by then: this answer cost nothing and was not stored again.
        """
        return self.response.started.replay_of

    @property
    def usage(self) -> Usage:
        """The tokens used."""
        return self.response.usage

    @property
    def cost(self) -> Cost | None:
        """What it cost; None when the model's price is not known."""
        return self.response.cost if self.response.HasField("cost") else None

    def json(self) -> Any:
        """Return the text as the JSON that it is.

        Raises:
            ValueError: when it is none, e.g. because `finish_reason` is "MAX_TOKENS".
        """
        return json.loads(self.text)


def text_of(spoken: Content | Delta, *, thought: bool) -> str:
    """Return the text in the parts of `spoken`: the thoughts, or all but the thoughts."""
    return "".join(part.text for part in spoken.parts if part.thought is thought)
