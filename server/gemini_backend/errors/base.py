"""What every failure carries: a gRPC code, a reason, and the facts that a caller can act on."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from typing import TYPE_CHECKING, Any, ClassVar, Self

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gemini.backend.v1.error_details_pb2 import ExecutionFailure


class Code(IntEnum):
    """The gRPC status codes that are used here, by gRPC's own numbers."""

    CANCELLED = 1
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    UNAUTHENTICATED = 16


@dataclass(frozen=True, slots=True)
class Violation:
    """One field that breaks one rule: its path, what is wrong, and the rule's id."""

    field: str
    description: str
    rule: str = ""


@dataclass(frozen=True, slots=True)
class QuotaViolation:
    """One quota that is spent: whose it is, and which."""

    subject: str
    description: str


@dataclass(frozen=True, slots=True)
class UpstreamReply:
    """What the model API answered when it refused, as it came.

    `http_status` is 0 when no answer came at all; `extra` has the fields of the error object
    that have no place of their own here.
    """

    http_status: int
    code: int | None = None
    status: str = ""
    message: str = ""
    details: tuple[Mapping[str, Any], ...] = ()
    extra: Mapping[str, Any] = field(default_factory=dict)


class ServiceError(Exception):
    """A failure with a gRPC code and a reason from the closed set.

    `final` is set where retries have been made already: the caller is not to add its own. `lasting`
    is set where the same attempt would fail in the same way each time, whatever the class says of
    retries: it is not tried again, and says nothing of the model's health.
    """

    code: ClassVar[Code]
    reason: ClassVar[str]
    retryable: ClassVar[bool] = False

    def __init__(
        self,
        message: str,
        *,
        retry_after: float | None = None,
        violations: Sequence[Violation] = (),
        quota: Sequence[QuotaViolation] = (),
        links: Sequence[tuple[str, str]] = (),
        upstream: UpstreamReply | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        """Make the failure.

        Args:
            message: What is wrong and what to do about it; shown to the caller.
            retry_after: Seconds after which a retry may help.
            violations: Every field that breaks a rule.
            quota: Every quota that is spent.
            links: Pairs of description and address, for `google.rpc.Help`.
            upstream: What the model API answered, when it did.
            metadata: Further facts for `google.rpc.ErrorInfo.metadata`.
        """
        super().__init__(message)
        self.message = message
        self.retry_after = retry_after
        self.violations = tuple(violations)
        self.quota = tuple(quota)
        self.links = tuple(links)
        self.upstream = upstream
        self.metadata = dict(metadata or {})
        self.failure: ExecutionFailure | None = None
        self.final = False
        self.lasting = False

    def as_lasting(self, *, when: bool = True) -> Self:
        """Set `lasting` where `when` holds; return the error."""
        self.lasting = when
        return self
