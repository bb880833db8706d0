"""What has happened, as frozen values, and the bus that carries it to whoever listens.

Policies and the upstream publish; metrics, logs and health subscribe, and whatever else wants to
know, such as a ledger. Neither side knows the other.
"""

from gemini_backend.telemetry.events.answers import (
    AnswerReused,
    CacheLookedUp,
    ExecutionCoalesced,
    ExecutionDetached,
    StreamResumed,
)
from gemini_backend.telemetry.events.attempts import (
    AdmissionRefused,
    AttemptFinished,
    DescriptorsRanOut,
    FellBack,
    HedgeStarted,
    HedgeWon,
    RetryScheduled,
    attempt_finished,
)
from gemini_backend.telemetry.events.bus import SILENT, Bus, Publisher
from gemini_backend.telemetry.events.connections import ConnectionRefused, Door, Refusal
from gemini_backend.telemetry.events.executions import (
    CANCELLED,
    OK,
    ExecutionFinished,
    ExecutionStarted,
    ModelResolved,
)
from gemini_backend.telemetry.events.identity import (
    AccessRefused,
    AuthenticationRefused,
    CredentialEnded,
)
from gemini_backend.telemetry.events.rpcs import RpcFinished, RpcStarted
from gemini_backend.telemetry.events.sessions import (
    SessionChanged,
    SessionsCounted,
    SessionsExpired,
    SessionTurnEnded,
    StoreVisited,
)
from gemini_backend.telemetry.events.upstream import (
    BodyHeld,
    CircuitChanged,
    ConnectionCondemned,
    KeyChanged,
    KeySourceFailed,
    UpstreamKeysChanged,
)

__all__ = [
    "CANCELLED",
    "OK",
    "SILENT",
    "AccessRefused",
    "AdmissionRefused",
    "AnswerReused",
    "AttemptFinished",
    "AuthenticationRefused",
    "BodyHeld",
    "Bus",
    "CacheLookedUp",
    "CircuitChanged",
    "ConnectionCondemned",
    "ConnectionRefused",
    "CredentialEnded",
    "DescriptorsRanOut",
    "Door",
    "ExecutionCoalesced",
    "ExecutionDetached",
    "ExecutionFinished",
    "ExecutionStarted",
    "FellBack",
    "HedgeStarted",
    "HedgeWon",
    "KeyChanged",
    "KeySourceFailed",
    "ModelResolved",
    "Publisher",
    "Refusal",
    "RetryScheduled",
    "RpcFinished",
    "RpcStarted",
    "SessionChanged",
    "SessionTurnEnded",
    "SessionsCounted",
    "SessionsExpired",
    "StoreVisited",
    "StreamResumed",
    "UpstreamKeysChanged",
    "attempt_finished",
]
