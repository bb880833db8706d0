"""What makes the server fail for each reason that a client can meet.

To add a reason: a row in `PROVOCATIONS` with a request that fails for it. A request for the model
`case-NAME` is answered by the entry NAME of `scripted_api.py`: add the upstream's misbehaviour
there. A row that needs a server in a certain state names it: `stages.py` has the servers by name.
A reason may have several rows, told apart by `name`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from google.protobuf.duration_pb2 import Duration
from google.protobuf.field_mask_pb2 import FieldMask

from gemini.backend.v1 import config_service_pb2 as config
from gemini.backend.v1 import execute_service_pb2 as pb
from gemini.backend.v1 import health_service_pb2 as health
from gemini.backend.v1 import session_service_pb2 as sessions
from gemini.backend.v1.content_pb2 import Content, FunctionDeclaration, GenerationConfig, Part, Tool

if TYPE_CHECKING:
    from google.protobuf.message import Message

SOON = Duration(nanos=300_000_000)


class Bytes:
    """Bytes in place of a message."""

    def __init__(self, data: bytes) -> None:
        """Send these."""
        self._data = data

    def SerializeToString(self) -> bytes:  # noqa: N802 - as a message does
        """Return the bytes."""
        return self._data


@dataclass(frozen=True)
class Provocation:
    """A request that fails for a reason.

    Attributes:
        reason: The reason.
        request: What is sent.
        method: Service and RPC; those of a whole answer unless the request says otherwise.
        stage: The server, by its name.
        seconds: The caller's deadline; None for none.
        name: Tells it from others with the same reason.
        final: Whether the server has tried again itself.
    """

    reason: str
    request: Message | Bytes
    method: str = ""
    stage: str = "plain"
    seconds: float | None = 30
    name: str = ""
    final: bool = False

    @property
    def path(self) -> str:
        """Return the path of the RPC."""
        method = self.method or f"ExecuteService/{'Execute' if self.stream else 'Process'}"
        return method if method.startswith("/") else f"/gemini.backend.v1.{method}"

    @property
    def stream(self) -> bool:
        """Return whether the answer streams."""
        return isinstance(self.request, pb.ExecuteRequest | health.WatchHealthStatusRequest)

    def __str__(self) -> str:
        """Name it in a report."""
        return f"{self.reason} {self.name}".strip()


def whole(case: str, **fields: Any) -> pb.ProcessRequest:
    """Return a request for a whole answer by this case of the upstream."""
    return pb.ProcessRequest(prompt="hi", model=f"case-{case}", **fields)


def stream(case: str, **fields: Any) -> pb.ExecuteRequest:
    """Return a request for a streamed answer by this case of the upstream."""
    return pb.ExecuteRequest(prompt="hi", model=f"case-{case}", **fields)


EMPTY = pb.ProcessRequest(contents=[Content(role="user")] * 300)
CROWDED = pb.ProcessRequest(contents=[Content(parts=[Part()] * 4096)] * 17)


def _caller() -> list[Provocation]:
    penalty = GenerationConfig(presence_penalty=0.5)
    tool = Tool(function_declarations=[FunctionDeclaration(name=f"bad {n}") for n in range(120)])
    many = pb.ExecuteRequest(prompt="x", tools=[tool])
    labels = {"A" * 4000: "v"}
    listen = config.UpdateConfigRequest(
        config=config.BackendConfig(server=config.ServerConfig(listen="127.0.0.1:1")),
        update_mask=FieldMask(paths=["server.listen"]),
    )
    outdated = config.UpdateConfigRequest(
        config=config.BackendConfig(logging=config.LoggingConfig(level="info")),
        update_mask=FieldMask(paths=["logging.level"]),
        etag="outdated",
    )
    get = sessions.GetSessionRequest(name="sessions/nobody")
    taken = sessions.CreateSessionRequest(session_id="taken")
    update, invalid = "ConfigService/UpdateConfig", "CALLER_INVALID_REQUEST"
    refused = "CALLER_REFUSED_BY_MODEL_API"
    count = pb.CountTokensRequest(
        prompt="x", model="case-refused-long", counting=pb.TOKEN_COUNTING_UPSTREAM
    )
    embed = pb.EmbedRequest(contents=[Content(parts=[Part(text="x")])], model="case-refused-fields")
    large = pb.ProcessRequest(contents=[Content(parts=[Part(text="x" * (2 << 20))])])
    return [
        Provocation(invalid, pb.ExecuteRequest()),
        Provocation(invalid, pb.ProcessRequest(prompt="x", labels=labels), name="label of 4,000"),
        Provocation(invalid, many, name="120 names"),
        Provocation(invalid, EMPTY, name="300 empty turns"),
        Provocation("CALLER_MALFORMED_MESSAGE", Bytes(b"\xff\xff\xff")),
        Provocation("CALLER_MESSAGE_TOO_LARGE", large),
        Provocation("CALLER_TOO_MANY_PARTS", CROWDED),
        Provocation("CALLER_UNKNOWN_MODEL", whole("unknown-model")),
        Provocation("CALLER_UNKNOWN_RESOURCE", get, "SessionService/GetSession"),
        Provocation("CALLER_DEADLINE_TOO_SHORT", whole("good"), seconds=5),
        Provocation(refused, whole("refused")),
        Provocation(refused, stream("refused-chinese"), name="in Chinese"),
        Provocation(refused, whole("refused-long"), name="160 kB"),
        Provocation(refused, whole("refused-fields"), name="150 violations"),
        Provocation(refused, count, "ExecuteService/CountTokens", name="160 kB, CountTokens"),
        Provocation(refused, embed, "ExecuteService/Embed", name="150 violations, Embed"),
        Provocation("CALLER_CANCELLED", stream("stalls"), stage="cancelling"),
        Provocation("CALLER_CONFLICT", outdated, update),
        Provocation("CALLER_NEEDS_RESTART", listen, update),
        Provocation(
            "CALLER_UNSUPPORTED_BY_MODEL",
            pb.ProcessRequest(prompt="x", model="gemini-3.7-flash", generation_config=penalty),
        ),
        Provocation("CALLER_CONTEXT_TOO_LONG", whole("too-long")),
        Provocation("CALLER_ALREADY_EXISTS", taken, "SessionService/CreateSession"),
    ]


def _identity() -> list[Provocation]:
    return [
        Provocation("CALLER_UNAUTHENTICATED", whole("good"), stage="stranger"),
        Provocation("CALLER_FORBIDDEN", whole("good"), stage="guarded"),
    ]


def _policy() -> list[Provocation]:
    only = pb.CacheControl(mode=pb.CACHE_MODE_ONLY_IF_CACHED)
    another = sessions.CreateSessionRequest(session_id="another")
    return [
        Provocation("POLICY_RATE_LIMITED", whole("good"), stage="limited"),
        Provocation("POLICY_OVERLOADED", whole("good"), stage="full"),
        Provocation("POLICY_OVERLOADED", whole("good"), stage="crowded", name="RPCs"),
        Provocation("POLICY_CIRCUIT_OPEN", whole("unavailable"), stage="broken"),
        Provocation("POLICY_QUOTA_EXHAUSTED", whole("good"), stage="quota"),
        Provocation("POLICY_NOT_CACHED", whole("good", cache_control=only)),
        Provocation("POLICY_CHAOS", whole("chaos")),
        Provocation("POLICY_SESSION_FULL", another, "SessionService/CreateSession"),
    ]


def _upstream() -> list[Provocation]:
    throttled, blocked = "UPSTREAM_THROTTLED", "UPSTREAM_ANSWER_BLOCKED"
    unavailable = "UPSTREAM_UNAVAILABLE"
    mute = stream("mute", first_token_timeout=SOON)
    return [
        Provocation("UPSTREAM_UNREACHABLE", whole("good"), stage="unreachable"),
        Provocation(unavailable, whole("unavailable")),
        Provocation(unavailable, stream("unavailable"), stage="retrying", name="x3", final=True),
        Provocation(throttled, whole("throttled")),
        Provocation(throttled, whole("throttled-twelve"), name="twelve quotas"),
        Provocation("UPSTREAM_QUOTA_EXHAUSTED", whole("spent"), stage="spent"),
        Provocation("UPSTREAM_KEY_REFUSED", whole("key"), stage="key"),
        Provocation("UPSTREAM_PROJECT_REFUSED", whole("project"), stage="project"),
        Provocation("UPSTREAM_ACCOUNT_LIMITED", whole("limited"), stage="account"),
        Provocation("UPSTREAM_CONNECT_TIMEOUT", whole("good"), stage="one connection"),
        Provocation("UPSTREAM_FIRST_TOKEN_TIMEOUT", mute),
        Provocation("UPSTREAM_IDLE_TIMEOUT", stream("stalls", idle_timeout=SOON)),
        Provocation("UPSTREAM_DEADLINE_EXCEEDED", stream("stalls"), stage="hasty", seconds=None),
        Provocation("UPSTREAM_STREAM_CUT", stream("cut")),
        Provocation("UPSTREAM_MALFORMED_ANSWER", whole("page")),
        Provocation("UPSTREAM_ANSWER_TOO_LARGE", whole("large")),
        Provocation("UPSTREAM_PROMPT_BLOCKED", whole("blocked-prompt")),
        Provocation(blocked, whole("blocked-answer")),
        Provocation(blocked, stream("blocked-code"), name="45 kB of code"),
        Provocation(blocked, whole("blocked-code"), name="45 kB of code, whole"),
        Provocation(blocked, stream("blocked-thoughts"), name="18 kB of thoughts"),
        Provocation("UPSTREAM_EMPTY_ANSWER", whole("empty")),
        Provocation("UPSTREAM_CANCELLED", whole("cancelled")),
        Provocation("UPSTREAM_TIMED_OUT", whole("gave-up")),
    ]


def _backend() -> list[Provocation]:
    missing, watch = "BACKEND_NOT_IMPLEMENTED", health.WatchHealthStatusRequest()
    create = sessions.CreateSessionRequest()
    return [
        Provocation("BACKEND_UNEXPECTED", pb.ProcessRequest(prompt="defect")),
        Provocation(missing, pb.ExecuteCodeRequest(instruction="x"), "ExecuteService/ExecuteCode"),
        Provocation(missing, Bytes(b""), "ExecuteService/Exekute", name="unknown RPC"),
        Provocation(missing, Bytes(b""), "/a.b.Service/Run", name="unknown service"),
        Provocation("BACKEND_DRAINING", watch, "HealthService/WatchHealthStatus", "stopping"),
        Provocation("BACKEND_OUT_OF_DESCRIPTORS", whole("leaves"), stage="without files"),
        Provocation("BACKEND_NO_UPSTREAM_KEY", whole("good"), stage="keyless"),
        Provocation(
            "BACKEND_STORE_UNAVAILABLE", create, "SessionService/CreateSession", "storeless"
        ),
    ]


PROVOCATIONS = [*_caller(), *_identity(), *_policy(), *_upstream(), *_backend()]
