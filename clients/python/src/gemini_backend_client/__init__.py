"""Gemini Backend's Python client: prompts in, answers out, as they are written.

    from gemini_backend_client import Client

    with Client() as client:
        for piece in client.execute("Write a haiku about rivers"):
            print(piece, end="", flush=True)

`AsyncClient` does the same for asyncio. Failures are typed: see `gemini_backend_client.errors`.
"""

from __future__ import annotations

from gemini_backend_client.calls.batch import BatchResult
from gemini_backend_client.calls.execution import AsyncExecution, Execution
from gemini_backend_client.calls.executions import Executions
from gemini_backend_client.calls.keys import Keys
from gemini_backend_client.calls.sessions import Conversation, Sessions
from gemini_backend_client.client import AsyncClient, Client
from gemini_backend_client.connection.api_key import KEY_VARIABLE, PLAIN_TEXT
from gemini_backend_client.connection.health import ServingStatus
from gemini_backend_client.connection.retry import RetryPolicy
from gemini_backend_client.connection.settings import DEFAULT, DEFAULT_TARGET, DEFAULT_TIMEOUT, Tls
from gemini_backend_client.connection.streams import AsyncMessages, Messages
from gemini_backend_client.connection.stubs import AsyncStubs, Stubs
from gemini_backend_client.errors import (
    BlockedError,
    CancelledError,
    ConflictError,
    ContextTooLongError,
    DeadlineExceededError,
    ErrorDetails,
    ForbiddenError,
    GeminiBackendError,
    InvalidRequestError,
    MessageTooLargeError,
    NotFoundError,
    PreconditionError,
    QuotaExhaustedError,
    RateLimitedError,
    ServerError,
    UnauthenticatedError,
    UnavailableError,
    UnimplementedError,
    UnknownModelError,
    UpstreamError,
)
from gemini_backend_client.messages.answer import Answer
from gemini_backend_client.messages.content import (
    arguments,
    file,
    function,
    function_response,
    json_answer,
    media,
    model_turn,
    tool,
    user_turn,
)
from gemini_backend_client.version import VERSION

__all__ = [
    "DEFAULT",
    "DEFAULT_TARGET",
    "DEFAULT_TIMEOUT",
    "KEY_VARIABLE",
    "PLAIN_TEXT",
    "VERSION",
    "Answer",
    "AsyncClient",
    "AsyncExecution",
    "AsyncMessages",
    "AsyncStubs",
    "BatchResult",
    "BlockedError",
    "CancelledError",
    "Client",
    "ConflictError",
    "ContextTooLongError",
    "Conversation",
    "DeadlineExceededError",
    "ErrorDetails",
    "Execution",
    "Executions",
    "ForbiddenError",
    "GeminiBackendError",
    "InvalidRequestError",
    "Keys",
    "MessageTooLargeError",
    "Messages",
    "NotFoundError",
    "PreconditionError",
    "QuotaExhaustedError",
    "RateLimitedError",
    "RetryPolicy",
    "ServerError",
    "ServingStatus",
    "Sessions",
    "Stubs",
    "Tls",
    "UnauthenticatedError",
    "UnavailableError",
    "UnimplementedError",
    "UnknownModelError",
    "UpstreamError",
    "arguments",
    "file",
    "function",
    "function_response",
    "json_answer",
    "media",
    "model_turn",
    "tool",
    "user_turn",
]
