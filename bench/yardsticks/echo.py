"""`python -m bench.yardsticks.echo`: a grpc.aio server that answers with the same bytes each time.

The floor for an answer out of the cache: the same RPCs, the same messages, and nothing looked up.
"""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Any

import grpc
import uvloop

from bench.programs import EXECUTE, PROCESS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

SERVICE = EXECUTE.split("/")[1]


async def serve(messages: list[bytes]) -> None:
    """Serves until it is cancelled: the first message as a whole answer, the others as a stream."""
    whole, *pieces = messages

    async def process(_request: bytes, _context: Any) -> bytes:
        return whole

    async def execute(_request: bytes, _context: Any) -> AsyncIterator[bytes]:
        for piece in pieces:
            yield piece

    server = grpc.aio.server()
    handlers = {
        PROCESS.rsplit("/", 1)[1]: grpc.unary_unary_rpc_method_handler(process),
        EXECUTE.rsplit("/", 1)[1]: grpc.unary_stream_rpc_method_handler(execute),
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    sys.stdout.write(f"ready grpc=127.0.0.1:{port}\n")
    sys.stdout.flush()
    await server.wait_for_termination()


if __name__ == "__main__":
    try:
        uvloop.run(serve([bytes.fromhex(one) for one in sys.argv[1:]]))
    except (KeyboardInterrupt, asyncio.CancelledError):
        sys.exit(0)
