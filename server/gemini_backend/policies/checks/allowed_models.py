"""Models that a principal may use; others are refused before anything is looked up or sent."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gemini_backend.call import Work
from gemini_backend.errors import Forbidden
from gemini_backend.policies.relay import Hook

if TYPE_CHECKING:
    from gemini_backend.call import Call
    from gemini_backend.policies.relay import Run


def refuse_forbidden(call: Call, model: str) -> None:
    """Let a call pass whose principal may use a model.

    Raises:
        Forbidden: it may not.
    """
    principal = call.principal
    if not principal.may_use(model):
        raise Forbidden(
            f"{principal.tenant}/{principal.name} may not use {model}; use one of "
            f"{', '.join(principal.models)}, or ask an admin for it"
        )


class AllowedModels(Hook):
    """Refuses executions of models that their principal may not use.

    A summary of a session is written by the model of the server's choice.
    """

    def __init__(self, *, on: bool) -> None:
        """Be mounted where `on`: where there are principals that may not use every model."""
        self._on = on

    def is_on(self) -> bool:
        """Return whether callers are authenticated."""
        return self._on

    def begin(self, run: Run, /) -> None:
        """Look at the model.

        Raises:
            Forbidden: the principal may not use it.
        """
        if run.call.work is not Work.SUMMARY:
            refuse_forbidden(run.call, run.request.model)

    def __repr__(self) -> str:
        """Name the policy."""
        return "AllowedModels()"
