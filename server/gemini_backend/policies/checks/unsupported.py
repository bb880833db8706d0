"""What the contract has and this version cannot do is refused by name, never passed over."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gemini.backend.v1 import execute_service_pb2 as pb
from gemini_backend.errors import NotImplementedYet
from gemini_backend.policies.relay import Hook

if TYPE_CHECKING:
    from gemini_backend.policies.relay import Run


class Unsupported(Hook):
    """Checks an `ExecuteRequest` for wishes that would otherwise be ignored."""

    def __init__(self, *, resumable: bool) -> None:
        """Let pass what the journal does where there is one."""
        self._resumable = resumable

    def begin(self, run: Run, /) -> None:
        """Let pass a request that asks for nothing beyond this version.

        Raises:
            NotImplementedYet: it does, by every such field.
        """
        refuse_unsupported(run.request, resumable=self._resumable)

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
    asked = []
    if request.HasField("sanitization"):
        if request.sanitization.pii > pb.PII_MODE_OFF:
            asked.append("sanitization.pii")
        if request.sanitization.injection > pb.INJECTION_MODE_OFF:
            asked.append("sanitization.injection")
    if request.max_cost_nano_usd > 0:
        asked.append("max_cost_nano_usd")
    if not resumable:
        kept = request.on_disconnect.mode > pb.DISCONNECT_MODE_CANCEL
        asked += ["resume"] * request.HasField("resume") + ["on_disconnect"] * kept
    if asked:
        msg = f"this version does not support {', '.join(asked)} yet; omit it"
        raise NotImplementedYet(msg)
