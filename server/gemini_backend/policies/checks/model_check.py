"""What the model cannot do is refused before it is sent; what is about to end is warned of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from gemini.backend.v1.execute_service_pb2 import Warning as WarningMessage
from gemini_backend.errors import UnknownModel, UnsupportedByModel
from gemini_backend.models.capability_check import ignored, too_long, unfulfilled
from gemini_backend.models.catalogue_schema import ModelLifecycle
from gemini_backend.models.names import full_name
from gemini_backend.policies.base import with_model
from gemini_backend.policies.checks.validated_cache import ValidatedCache, sketch_of
from gemini_backend.policies.event_stream import Watch
from gemini_backend.policies.relay import Hook
from gemini_backend.telemetry.events import SILENT, ModelResolved

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gemini_backend.config.sections.models import ModelsOptions
    from gemini_backend.errors import Violation
    from gemini_backend.models.catalogue_schema import CatalogueEntry
    from gemini_backend.models.registry import Registry
    from gemini_backend.policies.relay import Run
    from gemini_backend.telemetry.events import Publisher

_SHOWN = 3
# Judgements by the form of a request; beyond so many all are forgotten.
_REMEMBERED = 4096


class ModelCheck(Hook):
    """Looks a request's model up in the catalogue; one that it does not know passes.

    A model that is gone, and that upstream does not list, is refused with its replacement, or
    replaced, as configured. One that is deprecated, or replaced, is a warning in `started`, and so
    are parameters that it passes over.
    """

    def __init__(
        self, options: Callable[[], ModelsOptions], registry: Registry, bus: Publisher = SILENT
    ) -> None:
        """Read the options anew for each call, models from `registry`.

        A model that takes the place of another one is published on `bus`.
        """
        self._options = options
        self._registry = registry
        self._bus = bus
        self._able, self._heeds = ValidatedCache(), ValidatedCache()
        self._judged: dict[bytes, _Judgement] = {}

    def begin(self, run: Run, /) -> None:
        """Let pass what the model can do, for its replacement where it is gone.

        Raises:
            UnknownModel: the model is gone.
            UnsupportedByModel: it cannot do what is asked, with each field.
        """
        sketch = sketch_of(run.call, run.request)
        if sketch is not None:
            by = self._registry.edition(), self._options()
            known = self._judged.get(sketch.form)
            if known is not None and known.edition == by[0] and known.options is by[1]:
                if known.warnings:
                    run.watches.append(_Warned(known.warnings))
                return
        request, warnings = self.judge(run.request)
        if sketch is not None and request is run.request:
            if len(self._judged) >= _REMEMBERED:
                self._judged.clear()
            self._judged[sketch.form] = _Judgement(*by, warnings)
        run.call.outcome.model = request.model
        if request is not run.request:
            run.request = request
            self._bus.publish(ModelResolved(run.call.execution, request.model))
        if warnings:
            run.watches.append(_Warned(warnings))

    def judge(self, request: Any) -> tuple[Any, Sequence[WarningMessage]]:
        """Return the request, for the replacement where its model is gone, and its warnings.

        Raises:
            UnknownModel: the model is gone.
            UnsupportedByModel: it cannot do what is asked, with each field.
        """
        entry = self._registry.catalogue.find(request.model)
        if entry is None:
            return request, ()
        options = self._options()
        lifecycle = self._registry.lifecycle(entry)
        warnings = []
        if lifecycle is ModelLifecycle.GONE and self._listed(request.model):
            # what it can do is not known any more: perhaps its replacement answers by its name
            return request, [_warning("MODEL_DEPRECATED", _ended(entry, "is still listed"))]
        if lifecycle is ModelLifecycle.GONE and options.gone == "send":
            return request, [_warning("MODEL_GONE", _ended(entry, "was requested anyway"))]
        if lifecycle is ModelLifecycle.GONE:
            gone, entry = entry, self._in_place_of(entry, options)
            request = with_model(request, full_name(entry.name))
            words = f"{gone.name} was shut down; {entry.name} answers instead"
            warnings.append(_warning("MODEL_REPLACED", words))
        elif lifecycle is ModelLifecycle.DEPRECATED:
            warnings.append(_warning("MODEL_DEPRECATED", _ending(entry)))
        wishes = _wishes(request)
        if options.check_capabilities:
            self._check(request, entry, wishes)
        if not self._heeds.knows(wishes, entry):
            passed_over = ignored(request, entry)
            if passed_over:
                words = f"{entry.name} ignores {', '.join(passed_over)}; omit it"
                warnings.append(_warning("PARAMETER_IGNORED", words))
            else:
                self._heeds.learn(wishes, entry)
        return request, warnings

    def _check(self, request: Any, entry: CatalogueEntry, wishes: bytes | None) -> None:
        """Raise what the model cannot do."""
        if request.HasField("generation_config") and request.generation_config.max_output_tokens:
            known = self._registry.find(entry.name)
            _refuse(too_long(request, entry, known.total_output_limit if known else 0))
        if not self._able.knows(wishes, entry):
            _refuse(unfulfilled(request, entry))
            self._able.learn(wishes, entry)

    def _listed(self, model: str) -> bool:
        known = self._registry.find(model)
        return known is not None and known.listed is not None

    def _in_place_of(self, entry: CatalogueEntry, options: ModelsOptions) -> CatalogueEntry:
        successor = self._registry.successor(entry)
        if successor is None or options.gone == "refuse":
            remedy = (
                f"use {successor.name}" if successor else "ListModels lists the available models"
            )
            raise UnknownModel(f"{entry.name} has been shut down; {remedy}")
        return successor

    def __repr__(self) -> str:
        """Name the policy and its options."""
        options = self._options()
        check = "on" if options.check_capabilities else "off"
        return f"ModelCheck(gone={options.gone}, check={check})"


class _Judgement(NamedTuple):
    """That a request may pass as it is, by what that was judged, and what is warned of."""

    edition: tuple[int, int, int]
    options: ModelsOptions
    warnings: Sequence[WarningMessage]


class _Warned(Watch):
    """Puts warnings into `started`."""

    __slots__ = ("_warnings",)

    def __init__(self, warnings: Sequence[WarningMessage]) -> None:
        self._warnings = warnings

    def first(self, event: Any, /) -> None:
        event.started.warnings.extend(self._warnings)

    def answer(self, response: Any, /) -> None:
        response.started.warnings.extend(self._warnings)


def _wishes(request: Any) -> bytes | None:
    """Return, as bytes, all that a model may not be able to do; None where that may be much."""
    if request.contents or request.tools:
        return None
    beside = request.HasField("system_instruction") * 2 + bool(request.cached_content)
    if not request.HasField("generation_config"):
        return b"%d" % beside
    configured: bytes = request.generation_config.SerializeToString()
    return b"%d" % (beside + 4) + configured


def _refuse(violations: Sequence[Violation]) -> None:
    """Raise what is wrong with a request, if anything is."""
    if violations:
        shown = "; ".join(f"{one.field}: {one.description}" for one in violations[:_SHOWN])
        raise UnsupportedByModel(shown, violations=violations)


def _ending(entry: CatalogueEntry) -> str:
    when = f" will be shut down on {entry.shutdown}" if entry.shutdown else " is deprecated"
    return f"{entry.name}{when}{_remedy(entry)}"


def _ended(entry: CatalogueEntry, and_yet: str) -> str:
    when = f" on {entry.shutdown}" if entry.shutdown else ""
    return f"{entry.name} was scheduled for shutdown{when}, but {and_yet}{_remedy(entry)}"


def _remedy(entry: CatalogueEntry) -> str:
    return f"; {entry.replacement} replaces it" if entry.replacement else ""


def _warning(code: str, message: str) -> WarningMessage:
    return WarningMessage(code=code, message=message)
