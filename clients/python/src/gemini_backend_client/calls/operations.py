"""Every operation of both clients, written once."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any, TypeVar, Unpack, cast

from google.protobuf.wrappers_pb2 import StringValue

from gemini.backend.v1.execute_service_pb2 import (
    CountTokensRequest,
    ExecuteRequest,
    ProcessRequest,
)
from gemini.backend.v1.health_service_pb2 import GetHealthStatusRequest
from gemini.backend.v1.key_service_pb2 import WhoAmIRequest
from gemini_backend_client.calls.batch import BatchResult, batch_request, batch_result
from gemini_backend_client.calls.executions import Executions
from gemini_backend_client.calls.keys import Keys
from gemini_backend_client.calls.models import Models
from gemini_backend_client.calls.plan import Results, Run, Surface, Unary, operation
from gemini_backend_client.calls.sessions import Conversation, Sessions
from gemini_backend_client.connection import (
    DEFAULT,
    DEFAULT_TARGET,
    DEFAULT_TIMEOUT,
    Link,
    RetryPolicy,
    ServingStatus,
    Settings,
    health_check,
)
from gemini_backend_client.messages import Answer, build, embed_request, to_contents

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import grpc

    from gemini.backend.v1.execute_service_pb2 import CountTokensResponse, EmbedResponse
    from gemini.backend.v1.health_service_pb2 import HealthStatus
    from gemini.backend.v1.key_service_pb2 import Principal
    from gemini_backend_client.connection import PlainText, Timeout, Tls
    from gemini_backend_client.messages import (
        ContentLike,
        CountFields,
        EmbedFields,
        ExecuteFields,
        ProcessFields,
    )

__all__ = ["Operations"]

_Link = TypeVar("_Link", bound=Link)
_RETRY = RetryPolicy()


class Operations(Surface[_Link]):
    """What both clients can do."""

    def __init__(
        self,
        target: str = DEFAULT_TARGET,
        *,
        credentials: Tls | grpc.ChannelCredentials | PlainText | None = None,
        api_key: str | None = None,
        metadata: Mapping[str, str | bytes] | None = None,
        timeout: float | None = DEFAULT_TIMEOUT,
        retry: RetryPolicy | None = _RETRY,
        options: Mapping[str, int | str] | None = None,
    ) -> None:
        """Prepare a connection to `target`.

        Args:
            target: the server as "host:port", or any other name that gRPC resolves.
            credentials: for TLS, `Tls(...)` or gRPC's own; None speaks plain text, but sends no
                key to another machine, and `PLAIN_TEXT` sends that, too.
            api_key: sent with every call as `authorization: Bearer ...`; a JSON Web Token is as
                good. Default: that of the environment variable GEMINI_BACKEND_KEY; empty for none.
            metadata: sent with every call.
            timeout: seconds that a call may take as a whole, where it does not say otherwise;
                None for no limit.
            retry: how calls that met UNAVAILABLE are made again, if they may be made twice; None
                for never.
            options: further gRPC channel options, which outrank the client's own.

        Raises:
            ValueError: for a timeout that is not above 0; for a key that cannot be sent, or would
                be sent to another machine in plain text.
        """
        settings = Settings(target, credentials, api_key, metadata, timeout, retry, options)
        super().__init__(self._connect(settings))

    @abstractmethod
    def _connect(self, settings: Settings) -> _Link:
        """Return the link that this client works on."""

    @property
    def models(self) -> Models[_Link]:
        """The models that the server knows."""
        return Models(self._link)

    @property
    def sessions(self) -> Sessions[_Link]:
        """The caller's sessions: conversations that the server remembers."""
        return Sessions(self._link)

    @property
    def executions(self) -> Executions[_Link]:
        """The caller's executions: those that run, and those that the server remembers."""
        return Executions(self._link)

    @property
    def keys(self) -> Keys[_Link]:
        """The API keys of all callers, for administrators."""
        return Keys(self._link)

    def session(self, name: str) -> Conversation[_Link]:
        """Return a conversation in the session of this name or id, which must exist."""
        return Conversation(self._link, name)

    @operation
    def execute(
        self,
        content: ContentLike | None = None,
        *,
        request: ExecuteRequest | None = None,
        timeout: Timeout = DEFAULT,
        **fields: Unpack[ExecuteFields],
    ) -> Run:
        """Start an execution and return it; iterate it for the text as it streams in.

        Args:
            content: a prompt, parts of one, or the turns of a conversation.
            request: a whole request instead of `content` and `fields`.
            timeout: seconds until the answer must be whole; None for no limit.
            fields: further fields of `ExecuteRequest`: model, system_instruction,
                generation_config, tools, session, labels ...

        Raises:
            TypeError: when both forms are mixed, or content is of no known kind.
            ValueError: for fields that do not exist.
        """
        built = build(ExecuteRequest, content, request, fields)
        return Run(self._link.stubs.execute.Execute, built, timeout)

    @operation
    def process(
        self,
        content: ContentLike | None = None,
        *,
        request: ProcessRequest | None = None,
        timeout: Timeout = DEFAULT,
        **fields: Unpack[ProcessFields],
    ) -> Unary[Answer]:
        """Run an execution and return the whole answer at once.

        Args and errors: as `execute`; besides, a failed execution raises `GeminiBackendError`.
        """
        built = build(ProcessRequest, content, request, fields)
        return Unary(self._link.stubs.execute.Process, built, Answer, timeout)

    @operation
    def batch(
        self,
        items: Iterable[ContentLike | ExecuteRequest],
        *,
        concurrency: int = 0,
        timeout: Timeout = DEFAULT,
        **fields: Unpack[ProcessFields],
    ) -> Results[BatchResult]:
        """Run many executions and give each one's result as it comes, in any order.

        An item that fails has an error of its own and stops no other. Leaving the loop early
        cancels what still runs.

        Args:
            items: prompts, turns, or whole requests; at most 10,000.
            concurrency: how many run at once; 0 for as the server is configured.
            timeout: seconds for the whole batch; None for no limit.
            fields: further fields of each item that is no whole request; as for `process`.

        Raises:
            GeminiBackendError: when the batch as a whole fails.
        """
        built = batch_request(items, concurrency, fields)
        return Results(self._link.stubs.execute.BatchExecute, built, batch_result, timeout)

    @operation
    def count_tokens(
        self,
        content: ContentLike | None = None,
        *,
        request: CountTokensRequest | None = None,
        timeout: Timeout = DEFAULT,
        **fields: Unpack[CountFields],
    ) -> Unary[CountTokensResponse]:
        """Count the tokens of an execution without running it; arguments as `execute`.

        Raises:
            GeminiBackendError: when the call fails.
        """
        built = build(CountTokensRequest, content, request, fields)
        return Unary(self._link.stubs.execute.CountTokens, built, _as_it_is, timeout)

    @operation
    def embed(
        self,
        contents: Iterable[ContentLike],
        *,
        timeout: Timeout = DEFAULT,
        **fields: Unpack[EmbedFields],
    ) -> Unary[EmbedResponse]:
        """Turn each content into a vector.

        Args:
            contents: what to embed, one vector each.
            timeout: seconds for the call; None for no limit.
            fields: further fields of `EmbedRequest`: model, task_type, output_dimensionality ...

        Raises:
            GeminiBackendError: when the call fails.
        """
        turns = [turn for content in contents for turn in to_contents(content)]
        built = embed_request(turns, fields)
        return Unary(self._link.stubs.execute.Embed, built, _as_it_is, timeout)

    @operation
    def health(self, service: str = "", *, timeout: Timeout = DEFAULT) -> Unary[ServingStatus]:
        """Ask the standard health service; it costs nothing.

        Args:
            service: full name of a service; empty for the server as a whole.
            timeout: seconds for the call; None for no limit.

        Raises:
            NotFoundError: when the server does not know the service.
            UnavailableError: when nobody answers.
        """
        check = health_check(cast("grpc.Channel", self._link.channel))
        return Unary(check, StringValue(value=service), _serving_status, timeout)

    @operation
    def health_status(self, *, timeout: Timeout = DEFAULT) -> Unary[HealthStatus]:
        """Ask how the server is, and why: parts, models, circuits, quotas, queue, keys.

        It costs nothing upstream.

        Raises:
            UnavailableError: when nobody answers.
        """
        method = self._link.stubs.health.GetHealthStatus
        return Unary(method, GetHealthStatusRequest(), lambda answer: answer.status, timeout)

    @operation
    def who_am_i(self, *, timeout: Timeout = DEFAULT) -> Unary[Principal]:
        """Ask who the caller is, as the server sees it: tenant, name, roles, limits.

        Raises:
            UnauthenticatedError: when the server does not accept the credentials.
        """
        method = self._link.stubs.keys.WhoAmI
        return Unary(method, WhoAmIRequest(), lambda answer: answer.principal, timeout)


def _as_it_is(message: Any) -> Any:
    return message


def _serving_status(answer: Any) -> ServingStatus:
    return ServingStatus(answer.value)
