"""A status that is too large is shortened, in a written order, and says what it lacks.

`ErrorInfo.metadata["shortened"]` lists what is missing, such as "violations:138, message:4210":
bytes of a text, entries of a list. The whole is kept with the execution.

The steps, and how much of each part remains at least; no part is cut further than necessary:

1. `extra` everywhere, and `UpstreamFailure.details`: nothing
2. `ExecutionFailure.candidates`: nothing
3. `ExecutionFailure.finish_message`, then `UpstreamFailure.message`: 512 bytes
4. every text within a list, a map or another message: 512 bytes
5. `BadRequest.field_violations`: the first 16
6. the status message: 512 bytes
7. `ExecutionFailure.attempts`: the last 4; `PromptFeedback.safety_ratings` and
   `QuotaFailure.violations`: 4; `Help.links`: 2
8. the tokens by modality in `Usage`: nothing
9. 3 to 7 again: 128 bytes of a text, 4 entries of a list
10. `ExecutionFailure.continuation_token`: nothing, and its size in
    `ErrorInfo.metadata["continuation_token_bytes"]`
11. all details but `ErrorInfo`, `RetryInfo`, and of `ExecutionFailure` the name, the progress, the
    reasons of a block, the counts of `Usage` and the cost

The message gets the room that is left at last.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, Help, QuotaFailure, RetryInfo

from gemini.backend.v1.error_details_pb2 import ExecutionFailure, UpstreamFailure
from gemini_backend.api.requests.cuts import Entries, Text, clear_extras, cut_texts
from gemini_backend.api.requests.draft import counts_of, progress_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from google.protobuf.message import Message
    from google.rpc.status_pb2 import Status

    from gemini_backend.api.requests.draft import Draft

SHORTENED = "shortened"
_CONTINUATION_SIZE = "continuation_token_bytes"
_SMALLEST_ENTRY = 4  # no entry of a list takes less on the wire


@dataclass(frozen=True, slots=True)
class Floors:
    """How much of each part remains at least: bytes of a text, entries of a list."""

    text: int
    violations: int
    others: int
    links: int


_ROUNDS = (Floors(512, 16, 4, 2), Floors(128, 4, 4, 2))


def shortened(draft: Draft, room: int, sized: Callable[[Status], int]) -> Status:
    """Return the status of a draft, shortened until it fits; the draft stays as it is.

    Args:
        draft: What is to be said.
        room: The size that the status may have.
        sized: Returns the size of a status.
    """
    return _Shortening(draft, room, sized).status()


class _Shortening:
    """One status on its way to a size."""

    def __init__(self, draft: Draft, room: int, sized: Callable[[Status], int]) -> None:
        self._room = room
        self._sized = sized
        self._draft = draft.copy()
        self._info = self._draft.of(ErrorInfo) or ErrorInfo()
        self._failure = self._draft.of(ExecutionFailure)
        self._upstream = self._draft.of(UpstreamFailure)
        self._notes: dict[str, int] = {}
        self._left_out = draft.left_out
        self._message = Text("message", self._draft, "message", room)
        self._texts = [
            Text(name, owner, field_name, room)
            for name, owner, field_name in (
                ("finish_message", self._failure, "finish_message"),
                ("upstream.message", self._upstream, "message"),
            )
            if owner is not None
        ]
        self._lists = {entries.name: entries for entries in self._entries()}

    def _entries(self) -> Iterator[Entries]:
        most, failure = self._room // _SMALLEST_ENTRY, self._failure
        feedback = (
            failure.prompt_feedback if failure and failure.HasField("prompt_feedback") else None
        )
        for name, owner, field_name in (
            ("violations", self._draft.of(BadRequest), "field_violations"),
            ("attempts", failure, "attempts"),
            ("safety_ratings", feedback, "safety_ratings"),
            ("quota", self._draft.of(QuotaFailure), "violations"),
            ("links", self._draft.of(Help), "links"),
        ):
            if owner is not None:
                yield Entries(name, owner, field_name, most, last=name == "attempts")

    def status(self) -> Status:
        """Take the steps, until the status fits."""
        for step in self._steps():
            if self._fits():
                break
            step()
        self._cut(self._message, min(self._message.kept, self._message.size))
        return self._noted()

    def _steps(self) -> Iterator[Callable[[], None]]:
        yield self._without_extras
        yield self._without_candidates
        for floors in _ROUNDS:
            for text in self._texts:
                yield partial(self._cut, text, floors.text)
            yield partial(self._cut_inner_texts, floors.text)
            yield partial(self._cut_list, "violations", floors.violations)
            yield partial(self._cut, self._message, floors.text)
            for name in ("attempts", "safety_ratings", "quota"):
                yield partial(self._cut_list, name, floors.others)
            yield partial(self._cut_list, "links", floors.links)
            yield self._without_modalities
        yield self._without_token
        yield self._bare

    def _fits(self) -> bool:
        return self._sized(self._noted()) <= self._room

    def _noted(self) -> Status:
        """Return the status as it stands, with what it lacks."""
        missing = {part.name: part.missing() for part in (self._message, *self._texts)}
        missing |= {
            name: part.missing() + self._left_out.get(name, 0) for name, part in self._lists.items()
        }
        notes = self._notes | {name: number for name, number in missing.items() if number}
        if notes:
            self._info.metadata[SHORTENED] = ", ".join(
                f"{name}:{number}" if number else name for name, number in notes.items()
            )
        return self._draft.status()

    def _cut(self, part: Text | Entries, floor: int) -> None:
        """Keep as much of a part as fits, but not less than `floor`."""
        least, most = min(floor, part.size), part.size
        part.keep(least)
        if not self._fits():
            return
        while least < most:  # least fits; most + 1 does not
            middle = (least + most + 1) // 2
            part.keep(middle)
            if self._fits():
                least = middle
            else:
                most = middle - 1
        part.keep(least)

    def _cut_list(self, name: str, floor: int) -> None:
        if name in self._lists:
            self._cut(self._lists[name], floor)

    def _cut_inner_texts(self, most: int) -> None:
        found = [part.cut_texts(most) for part in self._lists.values()]
        found += [cut_texts(detail, most) for detail in self._draft.details]
        if any(found):
            self._notes["texts"] = 0

    def _without_extras(self) -> None:
        found = [clear_extras(detail) for detail in (self._failure, self._upstream) if detail]
        if any(found):
            self._notes["extra"] = 0
        if self._upstream is not None and self._upstream.details:
            self._notes["upstream.details"] = len(self._upstream.details)
            del self._upstream.details[:]

    def _without_candidates(self) -> None:
        if self._failure is not None and self._failure.candidates:
            self._notes["candidates"] = len(self._failure.candidates)
            del self._failure.candidates[:]

    def _without_modalities(self) -> None:
        if self._failure is None or not self._failure.HasField("usage"):
            return
        counts = counts_of(self._failure.usage)
        if counts != self._failure.usage:
            self._failure.usage.CopyFrom(counts)
            self._notes["usage"] = 0

    def _without_token(self) -> None:
        if self._failure is not None and self._failure.continuation_token:
            self._info.metadata[_CONTINUATION_SIZE] = str(len(self._failure.continuation_token))
            self._failure.continuation_token = b""

    def _bare(self) -> None:
        """Leave what every failure must say."""
        bare = [ErrorInfo(reason=self._info.reason, domain=self._info.domain)]
        if _CONTINUATION_SIZE in self._info.metadata:
            bare[0].metadata[_CONTINUATION_SIZE] = self._info.metadata[_CONTINUATION_SIZE]
        kept: list[Message] = [bare[0], *filter(None, [self._draft.of(RetryInfo)])]
        if self._failure is not None:
            kept.append(progress_of(self._failure))
        self._info, self._lists, self._texts = bare[0], {}, []
        self._notes["details"] = len(self._draft.details) - len(kept)
        self._draft.details = kept
