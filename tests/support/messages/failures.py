"""A failed call, as its caller sees it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2

from gemini.backend.v1.error_details_pb2 import ExecutionFailure

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from google.protobuf.message import Message

M = TypeVar("M", bound="Message")


@dataclass(frozen=True)
class Failure:
    """Code, message and details of a status."""

    code: grpc.StatusCode
    message: str
    status: status_pb2.Status

    @classmethod
    def of(cls, error: grpc.RpcError) -> Failure:
        """Read a failure off what grpc raised."""
        said: Any = error
        trailers = dict(said.trailing_metadata() or ())
        data = trailers.get("grpc-status-details-bin", b"")
        return cls(said.code(), said.details(), status_pb2.Status.FromString(data))

    def detail(self, kind: type[M]) -> M:
        """Return the one detail of this kind."""
        for packed in self.status.details:
            if packed.Is(kind.DESCRIPTOR):
                message = kind()
                packed.Unpack(message)
                return message
        raise AssertionError(f"no {kind.DESCRIPTOR.full_name} in {self.status}")

    @property
    def reason(self) -> str:
        """Return the reason from the closed set."""
        info = self.detail(error_details_pb2.ErrorInfo)
        assert info.domain == "gemini.backend"
        return info.reason

    @property
    def metadata(self) -> dict[str, str]:
        """Return the further facts."""
        return dict(self.detail(error_details_pb2.ErrorInfo).metadata)

    @property
    def execution(self) -> ExecutionFailure:
        """Return how far the execution came."""
        return self.detail(ExecutionFailure)


async def rest_of(stream: Any) -> list[Any]:
    """Return what is still to come of a stream of which `read` has given the beginning."""
    found = []
    while (event := await stream.read()) is not grpc.aio.EOF:
        found.append(event)
    return found


async def broken_off(stream: Any) -> tuple[list[Any], Failure]:
    """Read a stream that has to fail; return what came before, and the failure."""
    found = []
    with pytest.raises(grpc.aio.AioRpcError) as failed:
        while (event := await stream.read()) is not grpc.aio.EOF:
            found.append(event)
    return found, Failure.of(failed.value)


async def failure_of(answer: Awaitable[Any]) -> Failure:
    """Wait for a call that has to fail."""
    with pytest.raises(grpc.aio.AioRpcError) as failed:
        await answer
    return Failure.of(failed.value)
