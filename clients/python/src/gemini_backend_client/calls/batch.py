"""The items of a batch and what became of each. No I/O."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gemini.backend.v1.execute_service_pb2 import (
    BatchExecuteRequest,
    BatchExecuteResponse,
    ExecuteRequest,
)
from gemini_backend_client.connection import error_of
from gemini_backend_client.messages import Answer, build, with_request_id

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from gemini_backend_client.errors import GeminiBackendError
    from gemini_backend_client.messages import ContentLike

__all__ = ["BatchResult", "batch_request", "batch_result"]


@dataclass(frozen=True)
class BatchResult:
    """What became of one item.

    Attributes:
        index: the item's place among those that were asked for, from 0.
        answer: its answer; None where it failed.
        error: why it failed, typed as if it had been a call of its own; None where it did not.
        execution_id: the item's execution, `executions/{batch}.{index}`.
    """

    index: int
    answer: Answer | None
    error: GeminiBackendError | None
    execution_id: str = ""

    def result(self) -> Answer:
        """Return the answer.

        Raises:
            GeminiBackendError: the item failed.
        """
        if self.answer is None:
            raise self.error or AssertionError  # one of the two is always there
        return self.answer


def batch_request(
    items: Iterable[ContentLike | ExecuteRequest], concurrency: int, fields: Mapping[str, object]
) -> BatchExecuteRequest:
    """Return the request: `fields` go into each item that is no whole request already."""
    requests = [
        with_request_id(item)
        if isinstance(item, ExecuteRequest)
        else build(ExecuteRequest, item, None, fields)
        for item in items
    ]
    return BatchExecuteRequest(items=requests, concurrency=concurrency)


def batch_result(response: BatchExecuteResponse) -> BatchResult:
    """Return one item's result."""
    name = response.execution
    if response.WhichOneof("result") == "response":
        return BatchResult(response.index, Answer(response.response), None, name)
    return BatchResult(response.index, None, error_of(response.error), name)
