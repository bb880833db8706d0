"""The process that counts: texts come in on standard input, numbers go out on standard output.

A process of its own, because reading the vocabulary takes more than a second in which Python's
lock is held: in a thread, every stream of the server would stand still meanwhile.

It is run by its path, so it imports nothing of this package. On the wire, all numbers are 32 bits,
big-endian: a message is how many texts there are, then each text's length in bytes and its UTF-8;
the answer is a number a text. The first line out is `ready`, or says what is wrong.
"""

from __future__ import annotations

import os
import struct
import sys
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from tokenizers import Tokenizer

_NUMBER = struct.Struct(">I")
# Streams go first where there are more of both than processors.
_NICENESS = 5


def main(file: Path, digest: str) -> int:
    """Count until standard input ends; return the exit code.

    Args:
        file: The vocabulary.
        digest: What its SHA-256 must be.
    """
    os.nice(_NICENESS)
    source, sink = sys.stdin.buffer, sys.stdout.buffer
    try:
        tokenizer = _tokenizer(file, digest)
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
        texts = [_text(source) for _ in range(_NUMBER.unpack(head)[0])]
        encoded = tokenizer.encode_batch_fast(texts, add_special_tokens=False)
        sink.write(b"".join(_NUMBER.pack(len(one)) for one in encoded))
        sink.flush()


def _tokenizer(file: Path, digest: str) -> Tokenizer:
    from tokenizers import Tokenizer  # noqa: PLC0415 - a missing package is told as a line

    data = file.read_bytes()
    if sha256(data).hexdigest() != digest:
        msg = f"{file} has another SHA-256 than {digest}; fetch it again"
        raise ValueError(msg)
    tokenizer: Tokenizer = Tokenizer.from_buffer(data)
    return tokenizer


def _text(source: BinaryIO) -> str:
    return source.read(*_NUMBER.unpack(source.read(_NUMBER.size))).decode()


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2]))
