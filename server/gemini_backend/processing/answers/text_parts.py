"""Parts of an answer one behind the other: plain texts that follow each other become one part."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from google.protobuf.internal.containers import RepeatedCompositeFieldContainer

    from gemini.backend.v1.content_pb2 import Part

_TEXT = ["text"]
_THOUGHT = ["text", "thought"]


class TextJoiner:
    """Copies parts to the end of others as they come; holds texts back until `end`."""

    __slots__ = ("_parts", "_voice", "texts")

    def __init__(self, parts: RepeatedCompositeFieldContainer[Part]) -> None:
        """Put parts behind these, of which none is gone on with."""
        self._parts = parts
        self._voice: tuple[bool, ...] | None = None
        self.texts: list[str] = []
        """Of the last part, where it is plain text; whoever knows that text goes on may add it."""

    def add(self, part: Part) -> None:
        """Take the next part."""
        voice = _voice_of(part)
        if voice is not None and voice == self._voice:
            self.texts.append(part.text)
            return
        self.end()
        self._parts.add().CopyFrom(part)
        self._voice = voice
        if voice is not None:
            self.texts.append(part.text)

    def end(self) -> None:
        """Put the last text together; what comes next is another part."""
        if len(self.texts) > 1:
            self._parts[-1].text = "".join(self.texts)
        self.texts = []
        self._voice = None


def append(parts: RepeatedCompositeFieldContainer[Part], more: Sequence[Part]) -> None:
    """Put parts at the end; the first one goes on with the text before it, if both are plain."""
    if parts and more:
        voice = _voice_of(more[0])
        if voice is not None and voice == _voice_of(parts[-1]):
            parts[-1].text += more[0].text
            more = more[1:]
    parts.extend(more)


def _voice_of(part: Part) -> tuple[bool, ...] | None:
    """Return what tells plain texts apart, thoughts or not; None for what is not plain text."""
    names = [field.name for field, _ in part.ListFields()]
    if names == _TEXT:
        return ()
    return (part.thought,) if names == _THOUGHT else None
