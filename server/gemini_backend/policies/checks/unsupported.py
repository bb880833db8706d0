"""What the contract has and this version cannot do is refused by name, never passed over."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gemini.backend.v1 import execute_service_pb2 as pb
from gemini_backend.errors import NotImplementedYet

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from gemini_backend.call import Call
    from gemini_backend.policies.base import Stream, Unary


class Unsupported:
    """Checks an `ExecuteRequest` for wishes that would otherwise be ignored."""

    def __init__(self, *, resumable: bool) -> None:
        """Let pass what the journal does where there is one."""
        self._resumable = resumable

    async def unary(self, call: Call, request: Any, proceed: Unary[Any, Any], /) -> Any:
        """Answer a request that asks for nothing beyond this version."""
        refuse_unsupported(request, resumable=self._resumable)
        return await proceed(call, request)

    def stream(self, call: Call, request: Any, proceed: Stream[Any, Any], /) -> AsyncIterator[Any]:
        """Answer a request that asks for nothing beyond this version."""
        refuse_unsupported(request, resumable=self._resumable)
        return proceed(call, request)

    def __repr__(self) -> str:
        """Name the policy."""
        return "Unsupported()"


def refuse_unsupported_embedding(request: pb.EmbedRequest) -> None:
    """Raise if a field of a request for vectors asks for what this version cannot do.

    Raises:
        NotImplementedYet: naming it.
    """
    if request.labels:
        msg = "this version does not support labels of Embed yet; omit them"
        raise NotImplementedYet(msg)


def refuse_unsupported(request: pb.ExecuteRequest, *, resumable: bool) -> None:
    """Raise if a field asks for what this version cannot do.

    Raises:
        NotImplementedYet: naming every such field.
    """
    asked = [
        field
        for field, wanted in (
            ("sanitization.pii", request.sanitization.pii > pb.PII_MODE_OFF),
            ("sanitization.injection", request.sanitization.injection > pb.INJECTION_MODE_OFF),
            ("max_cost_nano_usd", request.max_cost_nano_usd > 0),
        )
        if wanted
    ]
    if not resumable:
        kept = request.on_disconnect.mode > pb.DISCONNECT_MODE_CANCEL
        asked += ["resume"] * request.HasField("resume") + ["on_disconnect"] * kept
    if asked:
        msg = f"this version does not support {', '.join(asked)} yet; omit it"
        raise NotImplementedYet(msg)
