"""Retries by gRPC itself, as told in the channel's service config.

The library retries below the stubs: in every language the same, within the call's one deadline,
only before the first message of an answer, and never where the server's
`grpc-retry-pushback-ms` says not to (or, with a number, not before so many milliseconds).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from google.protobuf.descriptor_pb2 import MethodOptions

from gemini_backend_client.stubs import CONTRACT

__all__ = ["RetryPolicy", "service_config"]

if TYPE_CHECKING:
    from collections.abc import Iterator

_MOST_ATTEMPTS = 5
_THROTTLE = {"maxTokens": 100, "tokenRatio": 0.1}


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often, and how soon, a call that met UNAVAILABLE is made again.

    Attributes:
        attempts: the most attempts in all, the first included; 2 to 5, where gRPC itself ends.
        initial_backoff: seconds before the second attempt, give or take a fifth. Much less than the
            default is not wise for blocking streams: with grpcio 1.85 such a stream can miss its
            deadline when the server goes away during so short a wait.
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
        if not 0 < self.initial_backoff <= self.max_backoff:
            msg = "give initial_backoff > 0 and max_backoff >= initial_backoff, in seconds"
            raise ValueError(msg)
        if self.multiplier < 1:
            msg = f"multiplier is {self.multiplier}: give 1 or more"
            raise ValueError(msg)


def service_config(policy: RetryPolicy) -> str:
    """Return the service config, as JSON: `policy` for every method without side effects."""
    config: dict[str, Any] = {
        "methodConfig": [
            {
                "name": list(_methods_without_side_effects()),
                "retryPolicy": {
                    "maxAttempts": policy.attempts,
                    "initialBackoff": f"{policy.initial_backoff:.3f}s",
                    "maxBackoff": f"{policy.max_backoff:.3f}s",
                    "backoffMultiplier": policy.multiplier,
                    "retryableStatusCodes": ["UNAVAILABLE"],
                },
            }
        ],
        # While most calls fail, retries would only feed the fire: below half of its tokens gRPC
        # makes none, until successes have filled the bucket again.
        "retryThrottling": _THROTTLE,
    }
    return json.dumps(config)


def _methods_without_side_effects() -> Iterator[dict[str, str]]:
    for file in CONTRACT:
        for service in file.services_by_name.values():
            for method in service.methods:
                level = method.GetOptions().idempotency_level
                if level == MethodOptions.NO_SIDE_EFFECTS:
                    yield {"service": service.full_name, "method": method.name}
