"""The model's name: the default where there is none, and always in full."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gemini_backend.models.names import full_name

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from gemini_backend.call import Call
    from gemini_backend.policies.base import Stream, Unary


class Prepare:
    """Sets `request.model` to `models/{model}`; model and request id go into the call."""

    def __init__(self, default_model: Callable[[], str]) -> None:
        """Ask for the default anew for each call, so that a change counts from the next one on."""
        self._default = default_model

    async def unary(self, call: Call, request: Any, proceed: Unary[Any, Any], /) -> Any:
        """Answer for the model named in full."""
        self._name(call, request)
        return await proceed(call, request)

    def stream(self, call: Call, request: Any, proceed: Stream[Any, Any], /) -> AsyncIterator[Any]:
        """Answer for the model named in full."""
        self._name(call, request)
        return proceed(call, request)

    def _name(self, call: Call, request: Any) -> None:
        request.model = call.model = full_name(request.model or self._default())
        call.request_id = request.request_id

    def __repr__(self) -> str:
        """Name the policy and its default."""
        return f"Prepare(default_model={self._default()!r})"
