"""When a call that met UNAVAILABLE is retried.

Within the call's one deadline, only before the first message of an answer, and never where the
server's `grpc-retry-pushback-ms` says not to (or, with a number, not before so many milliseconds).
Retried is what may be done twice: methods that the contract marks as free of side effects or as
idempotent, and requests that are so by what they say (`_may_repeat`).

Methods with one answer and no side effects are left to gRPC itself, by the channel's service
config. Streams are not: with grpcio 1.85 a blocking stream that waits for a retry of gRPC's own
while the server goes away never ends, its deadline notwithstanding. Others are not either: a
service config knows methods, not requests. `Retries` does the same above the stubs.
"""

from __future__ import annotations

import json
import math
import random
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, cast

import grpc
from google.protobuf.descriptor_pb2 import MethodOptions
from google.protobuf.message_factory import GetMessageClass

from gemini.backend.v1.batch_service_pb2 import CreateBatchRequest
from gemini.backend.v1.execute_service_pb2 import (
    DISCONNECT_MODE_KEEP,
    BatchExecuteRequest,
    ExecuteCodeRequest,
    ExecuteRequest,
    ProcessRequest,
)
from gemini.backend.v1.session_service_pb2 import CreateSessionRequest
from gemini_backend_client.connection.status import delay_of
from gemini_backend_client.connection.stubs import CONTRACT

__all__ = ["Retries", "RetryPolicy", "Throttle", "service_config"]

if TYPE_CHECKING:
    from collections.abc import Iterator

    from google.protobuf.descriptor import MethodDescriptor

    from gemini_backend_client.connection.status import FailedCall

_MOST_ATTEMPTS = 5
_MOST_TOKENS = 100
_PUSHBACK = "grpc-retry-pushback-ms"
_JITTER = 0.2


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often, and how soon, a call that met UNAVAILABLE is made again.

    Attributes:
        attempts: the most attempts in all, the first included; 2 to 5, where gRPC itself ends.
        initial_backoff: seconds before the second attempt, give or take a fifth; a server that
            starts anew takes about one.
        max_backoff: seconds that no wait exceeds.
        multiplier: by how much each wait's bound exceeds the one before; at least 1.
    """

    attempts: int = 4
    initial_backoff: float = 1.0
    max_backoff: float = 5.0
    multiplier: float = 2.0

    def __post_init__(self) -> None:
        """Refuse what gRPC would silently ignore.

        Raises:
            ValueError: for a value outside its range.
        """
        if not 1 < self.attempts <= _MOST_ATTEMPTS:
            msg = f"attempts is {self.attempts}: give 2 to {_MOST_ATTEMPTS}, or retry=None for none"
            raise ValueError(msg)
        if not 0 < self.initial_backoff <= self.max_backoff < math.inf:
            msg = "give initial_backoff > 0 and max_backoff >= initial_backoff, in seconds"
            raise ValueError(msg)
        if not 1 <= self.multiplier < math.inf:
            msg = f"multiplier is {self.multiplier}: give 1 or more"
            raise ValueError(msg)


def service_config(policy: RetryPolicy) -> str:
    """Return the service config, as JSON: `policy` for the methods that gRPC itself retries."""
    names = [
        {"service": method.containing_service.full_name, "method": method.name}
        for method in _methods()
        if _is_left_to_grpc(method)
    ]
    config: dict[str, Any] = {
        "methodConfig": [
            {
                "name": names,
                "retryPolicy": {
                    "maxAttempts": policy.attempts,
                    "initialBackoff": f"{policy.initial_backoff:.3f}s",
                    "maxBackoff": f"{policy.max_backoff:.3f}s",
                    "backoffMultiplier": policy.multiplier,
                    "retryableStatusCodes": ["UNAVAILABLE"],
                },
            }
        ],
        "retryThrottling": {"maxTokens": _MOST_TOKENS, "tokenRatio": 0.1},
    }
    return json.dumps(config)


class Throttle:
    """Keeps retries from feeding the fire while most calls fail, as gRPC's own does.

    A failure takes a token, a success gives a tenth of one back; below half of the tokens nothing
    is made again. For all streams of a channel; safe to use from several threads.
    """

    def __init__(self) -> None:
        """Start with all tokens."""
        self._tenths = 10 * _MOST_TOKENS
        self._lock = threading.Lock()

    def succeeded(self) -> None:
        """Count a success."""
        with self._lock:
            self._tenths = min(10 * _MOST_TOKENS, self._tenths + 1)

    def failed(self) -> bool:
        """Count a failure; return whether anything may be made again."""
        with self._lock:
            self._tenths = max(0, self._tenths - 10)
            return self._tenths > 10 * _MOST_TOKENS // 2


class Retries:
    """The attempts of one call: how long each may take, and what follows a failure."""

    def __init__(
        self, policy: RetryPolicy | None, throttle: Throttle, request: Any, seconds: float | None
    ) -> None:
        """Begin a call with `request` that may take `seconds` in all, None for no limit."""
        self._given = policy
        self._policy = policy if _may_repeat(request) else None
        self._deletion = _DELETIONS.get(request.DESCRIPTOR.full_name)
        self._throttle = throttle
        self._ends = None if seconds is None else time.monotonic() + seconds
        self._attempts = 0
        self._begun = False

    def next_timeout(self) -> float | None:
        """Count an attempt; return the seconds that it may take, None for no limit."""
        self._attempts += 1
        return self._remaining()

    def begun(self) -> None:
        """Note that a message has come: from now on nothing is made again."""
        if not self._begun:
            self._begun = True
            self._throttle.succeeded()

    def pause_after(self, failed: grpc.RpcError) -> float | None:
        """Return the seconds before the next attempt, None where the failure is final."""
        call = cast("FailedCall", failed)
        if self._policy is None or self._begun or call.code() is not grpc.StatusCode.UNAVAILABLE:
            return None
        allowed = self._throttle.failed() and self._attempts < self._policy.attempts
        pause = self._pause(self._policy, failed)
        remaining = self._remaining()
        too_late = remaining is not None and pause is not None and pause >= remaining
        return pause if allowed and not too_late else None

    def pause_before_resuming(self, failed: grpc.RpcError) -> float | None:
        """Return the seconds before a lost stream is resumed, None where the failure is final.

        A status of the server's own is final: then the execution has ended.
        """
        call = cast("FailedCall", failed)
        lost = call.code() is grpc.StatusCode.UNAVAILABLE and not call.trailing_metadata()
        if self._given is None or not lost:
            return None
        allowed = self._throttle.failed() and self._attempts < self._given.attempts
        pause, remaining = self._pause(self._given, failed), self._remaining()
        too_late = remaining is not None and pause is not None and pause >= remaining
        return pause if allowed and not too_late else None

    def went_on(self) -> None:
        """Note that a resumed stream has brought an event: the next loss is a new one."""
        self._attempts = 1

    def deleted_before(self, failed: grpc.RpcError) -> Any:
        """Return the answer to a deletion that finds nothing any more; None for anything else.

        An attempt whose answer was lost may have deleted it: what was asked for is so.
        """
        call = cast("FailedCall", failed)
        if self._deletion is None or self._attempts == 1:
            return None
        return self._deletion() if call.code() is grpc.StatusCode.NOT_FOUND else None

    def _pause(self, policy: RetryPolicy, failed: grpc.RpcError) -> float | None:
        trailers = cast("FailedCall", failed).trailing_metadata()
        asked = dict(trailers or ()).get(_PUSHBACK)
        if asked is not None:
            text = str(asked)
            return int(text) / 1000 if text.isascii() and text.isdigit() else None
        delay = delay_of(failed)  # without pushback where it ends after the deadline
        if delay is not None:
            return delay
        grown = policy.initial_backoff * policy.multiplier ** (self._attempts - 1)
        return min(grown, policy.max_backoff) * random.uniform(1 - _JITTER, 1 + _JITTER)  # noqa: S311 - no secret

    def _remaining(self) -> float | None:
        return None if self._ends is None else max(0.0, self._ends - time.monotonic())


def _methods() -> Iterator[MethodDescriptor]:
    for file in CONTRACT:
        for service in file.services_by_name.values():
            yield from service.methods


def _level(method: MethodDescriptor) -> MethodOptions.IdempotencyLevel.ValueType:
    return method.GetOptions().idempotency_level


def _is_left_to_grpc(method: MethodDescriptor) -> bool:
    return _level(method) == MethodOptions.NO_SIDE_EFFECTS and not method.server_streaming


def _may_repeat(request: Any) -> bool:
    """Say whether a request, made twice, leaves nothing behind that it does not leave made once.

    Requests that gRPC itself repeats do not count. An execution without a session leaves nothing
    behind, unless it goes on without its caller; a session knows a turn by its id, and the server
    knows by theirs what was created.
    """
    if isinstance(request, ExecuteRequest | ProcessRequest):
        if request.session:
            return bool(request.request_id)
        return request.on_disconnect.mode != DISCONNECT_MODE_KEEP
    if isinstance(request, ExecuteCodeRequest):
        return not request.session or bool(request.request_id)
    if isinstance(request, BatchExecuteRequest):
        return all(map(_may_repeat, request.items))
    if isinstance(request, CreateSessionRequest | CreateBatchRequest):
        return bool(request.request_id)
    return request.DESCRIPTOR.full_name in _REPEATED


# By the name of the request, which no two methods of the contract share.
_REPEATED: Final = frozenset(
    method.input_type.full_name
    for method in _methods()
    if _level(method) != MethodOptions.IDEMPOTENCY_UNKNOWN and not _is_left_to_grpc(method)
)
_DELETIONS: Final = {
    method.input_type.full_name: GetMessageClass(method.output_type)
    for method in _methods()
    if method.name.startswith("Delete")
}
