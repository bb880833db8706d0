"""The model's name: the default where there is none, and always in full."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gemini_backend.errors import InvalidRequest, Violation
from gemini_backend.models.names import full_name
from gemini_backend.policies.base import with_model
from gemini_backend.policies.checks.validated_cache import Renamed
from gemini_backend.policies.relay import Hook
from gemini_backend.telemetry.events import SILENT, ModelResolved

if TYPE_CHECKING:
    from collections.abc import Callable

    from gemini_backend.policies.relay import Run
    from gemini_backend.telemetry.events import Publisher


class ModelDefault(Hook):
    """Hands on the request with its model by its full name, which goes into the call as well.

    A model that the upstream cannot have by its name, such as one of Vertex AI's where the Gemini
    API is asked, is refused before anything is looked up or sent.
    """

    def __init__(
        self,
        default_model: Callable[[], str],
        objection: Callable[[str], str] = lambda _: "",
        bus: Publisher = SILENT,
    ) -> None:
        """Prepare requests.

        Args:
            default_model: Gives the default, anew for each call, so that a change counts from the
                next one on.
            objection: Says in words why the upstream has no model of a name; empty for no reason.
            bus: Where the model of each execution is published.
        """
        self._default = default_model
        self._objection = objection
        self._bus = bus
        self._renamed = Renamed()

    def begin(self, run: Run, /) -> None:
        """Name the model in full.

        Raises:
            InvalidRequest: the upstream has no models of such names.
        """
        call, request = run.call, run.request
        asked = request.model
        model = call.outcome.model = full_name(asked or self._default())
        self._bus.publish(ModelResolved(call.execution, model))
        self._check("model", model)
        if request.HasField("fallback"):
            for place, name in enumerate(request.fallback.models):
                self._check(f"fallback.models[{place}]", full_name(name))
        if model == asked:
            return
        if call.large:
            request.model = model  # a copy would take as much room again
        else:
            run.request = with_model(request, model)
            self._renamed.sketch(call, request, run.request, model)

    def _check(self, field: str, model: str) -> None:
        what = self._objection(model)
        if what:
            raise InvalidRequest(f"{field} {what}", violations=[Violation(field, what, "model")])

    def __repr__(self) -> str:
        """Name the policy and its default."""
        return f"ModelDefault(default_model={self._default()!r})"
