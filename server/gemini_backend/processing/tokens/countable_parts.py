"""What of a request is to be counted: its texts, its media, and what each turn adds.

On the Gemini API a prompt of texts alone, for a model from 2.5 on, comes to the tokens of its
texts, one for each content, and one for a system instruction. Tools, media, and thoughts that come
back by their signatures cannot be derived: with any of those the count is an estimate.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from gemini.backend.v1 import content_pb2 as pb
from gemini_backend.durations import seconds_of
from gemini_backend.processing.tokens.call_rendering import as_json, as_written
from gemini_backend.processing.tokens.media import Medium, modality_of, tokens_of
from gemini_backend.processing.tokens.model_generation import GEMMA_3
from gemini_backend.processing.tokens.rules_of_thumb import ample_tokens

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from google.protobuf.struct_pb2 import Struct

    from gemini.backend.v1.execute_service_pb2 import CountTokensRequest, ExecuteRequest

# So many bytes of objects are written out to be counted; for more the event loop has no time.
_WRITTEN_OUT = 16_384
# Larger tools are counted by their size alone.
_TOOLS_READ = 65_536
# A declared function has about so many tokens beside its words.
_A_DECLARATION = 8
# What one kind of medium is counted to at the most: all kinds together fit into 32 bits.
_MOST = 1 << 28
_SCHEMA_TEXTS = (
    "parameters_json",
    "parameters_json_schema_text",
    "response_json",
    "response_json_schema_text",
)


class CountableParts:
    """Adds up a request, or a part of one.

    `texts` are certain to be counted as they are; `others` are texts that are so about. `added` is
    what is known without counting. `derivable` says whether all of it can be counted exactly.
    """

    def __init__(self, generation: float, resolution: int = 0) -> None:
        """Count by the rules of a generation; media are read as finely as the request says."""
        self.generation = generation
        self.derivable = generation >= GEMMA_3
        self.texts: list[str] = []
        self.others: list[str] = []
        self.certain = 0
        self.added: dict[int, int] = {}
        self._resolution = resolution
        self._left = _WRITTEN_OUT

    def whole(self, request: ExecuteRequest | CountTokensRequest) -> Iterator[None]:
        """Add a whole request; each yield is a place to pause."""
        prompt = request.prompt  # read once: each time it is made anew
        if prompt:
            self.certain += 1
            self.texts.append(prompt)
        for turn in request.contents:
            yield
            self.contents([turn])
        if request.HasField("system_instruction"):
            self.instruction(request.system_instruction)
        yield
        self.tools(request.tools)
        self.schema(request.generation_config)
        for name in ("cached_content", "extra", "extra_json", "continuation_token"):
            if name in request.DESCRIPTOR.fields_by_name and getattr(request, name):
                self.derivable = False

    def contents(self, contents: Iterable[pb.Content]) -> None:
        """Add turns."""
        for content in contents:
            self.certain += 1
            for part in content.parts:
                self.part(part)

    def instruction(self, content: pb.Content) -> None:
        """Add a system instruction."""
        self.contents([content])

    def part(self, part: pb.Part) -> None:
        """Add one part."""
        kind = part.WhichOneof("data")
        if part.HasField("extra") or part.extra_json or part.HasField("thought_signature"):
            self.derivable = False
        if kind == "text":
            # a thought comes back by its signature, if at all
            if part.thought:
                self.derivable = False
            else:
                self.texts.append(part.text)
        elif kind == "inline_data":
            self._blob(part.inline_data, part)
        elif kind == "file_data":
            self._file(part.file_data, part)
        elif kind is not None:
            self.derivable = False
            self._exchange(part, kind)

    def tools(self, tools: Sequence[pb.Tool]) -> None:
        """Add declared functions; tools of Gemini's own cost nothing until they are used."""
        if not tools:
            return
        self.derivable = False
        size = sum(tool.ByteSize() for tool in tools)
        if size > _TOOLS_READ:
            self._sized(size)
            return
        for tool in tools:
            for declared in tool.function_declarations:
                self._add(pb.MODALITY_TEXT, _A_DECLARATION)
                self.others += [declared.name, declared.description]
                for name in ("parameters", "response"):
                    if declared.HasField(name):
                        self._object(getattr(declared, name))
                self.others += [getattr(declared, name) for name in _SCHEMA_TEXTS]
                self._sized(declared.parameters_json_schema.ByteSize())
                self._sized(declared.response_json_schema.ByteSize())

    def schema(self, config: pb.GenerationConfig) -> None:
        """Take note of the shape of the answer, which has been seen to cost nothing."""
        if config.WhichOneof("schema") is not None:
            self.derivable = False

    def _exchange(self, part: pb.Part, kind: str) -> None:
        if kind == "function_call":
            size = part.function_call.ByteSize()
            if self._may_write(size):
                self.others.append(as_written(part.function_call, self.generation))
            else:
                self._sized(size)
        elif kind == "function_response":
            answer = part.function_response
            self.others.append(answer.name)
            self._object(answer.response, answer.response_json)
            for one in answer.parts:
                if one.HasField("inline_data"):
                    self._blob(one.inline_data, part)
                elif one.HasField("file_data"):
                    self._file(one.file_data, part)
        elif kind == "tool_call":
            self._object(part.tool_call.args, part.tool_call.args_json)
        elif kind == "tool_response":
            self._object(part.tool_response.response, part.tool_response.response_json)
        else:
            self.others.append(_text_of(part, kind))

    def _blob(self, blob: pb.Blob, part: pb.Part) -> None:
        self.derivable = False
        if modality_of(blob.mime_type) == pb.MODALITY_TEXT:
            self.others.append(blob.data.decode(errors="replace"))
            return
        self._medium(blob.mime_type, blob.data, part)

    def _file(self, file: pb.FileData, part: pb.Part) -> None:
        self.derivable = False
        # an address without a type is mostly that of a video page
        self._medium(file.mime_type or "video/mp4", b"", part)

    def _medium(self, mime_type: str, data: bytes, part: pb.Part) -> None:
        seen = part.video_metadata
        begin = seconds_of(seen.start_offset)
        end = seconds_of(seen.end_offset) if seen.HasField("end_offset") else None
        medium = Medium(
            mime_type,
            data,
            len(data),
            resolution=part.media_resolution or self._resolution,
            frames_a_second=seen.fps or 1.0,
            seconds=None if end is None else max(0.0, end - begin),
        )
        self._add(modality_of(mime_type), tokens_of(medium, self.generation))

    def _object(self, struct: Struct, text: str = "") -> None:
        size = len(text) or struct.ByteSize()
        if self._may_write(size):
            self.others.append(text or as_json(struct))
        else:
            self._sized(size)

    def _may_write(self, size: int) -> bool:
        self._left -= size
        return self._left >= 0

    def _sized(self, size: int) -> None:
        """Add what is counted by its bytes alone."""
        self._add(pb.MODALITY_TEXT, ample_tokens(size))

    def _add(self, modality: int, tokens: int) -> None:
        if tokens:
            self.added[modality] = min(_MOST, self.added.get(modality, 0) + tokens)


def ledger_of(request: ExecuteRequest | CountTokensRequest, generation: float) -> CountableParts:
    """Return what is to be counted of a whole request."""
    ledger = CountableParts(generation, request.generation_config.media_resolution)
    deque(ledger.whole(request), maxlen=0)
    return ledger


def _text_of(part: pb.Part, kind: str) -> str:
    """Return what a part says that is none of the texts, media, calls and responses."""
    if kind == "executable_code":
        return part.executable_code.code
    if kind == "code_execution_result":
        return part.code_execution_result.output
    return part.audio_transcription.text
