"""The metrics: count calls and executions, and are asked for figures and for Prometheus' text.

Plain integers and digests, one event loop, no locks: an event costs a few microseconds, and what
is dear (percentiles, text) is paid by who asks. Labels come from closed sets: methods of the
contract, models that are known or have answered, codes and reasons that the contract names;
anything else is `other`.
"""

from __future__ import annotations

import time
from collections import Counter
from functools import lru_cache
from typing import TYPE_CHECKING

from gemini.backend.v1.error_details_pb2 import ErrorReason
from gemini_backend.call import Work
from gemini_backend.models.names import short_name
from gemini_backend.telemetry.events import (
    ExecutionFinished,
    ExecutionStarted,
    ModelResolved,
    RpcFinished,
    RpcStarted,
)
from gemini_backend.telemetry.metrics import traffic
from gemini_backend.telemetry.metrics.digest import MAX_WINDOW_SECONDS, covered_seconds
from gemini_backend.telemetry.metrics.series import (
    CANCELLED,
    KINDS,
    OK,
    Series,
    SeriesTotals,
    stats_of,
    totals_of,
)
from gemini_backend.telemetry.metrics.snapshots import Performance, Rates, Stats
from gemini_backend.telemetry.metrics.zeros import MOST_MODELS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from prometheus_client import CollectorRegistry

    from gemini.backend.v1.content_pb2 import Usage
    from gemini_backend.clock import Clock
    from gemini_backend.telemetry.events import Bus
    from gemini_backend.telemetry.metrics.metric_families import Family, Source

OTHER = "other"
RATE_SECONDS = 60.0
MAX_MODELS = 200
_EMBEDDING = Work.EMBEDDING  # looking up a member of an enumeration takes long
_short_name = lru_cache(maxsize=1024)(short_name)
REASONS = frozenset(name.removeprefix("ERROR_REASON_") for name in dict(ErrorReason.items()))
CODES = frozenset(
    {
        "OK",
        "CANCELLED",
        "UNKNOWN",
        "INVALID_ARGUMENT",
        "DEADLINE_EXCEEDED",
        "NOT_FOUND",
        "ALREADY_EXISTS",
        "PERMISSION_DENIED",
        "RESOURCE_EXHAUSTED",
        "FAILED_PRECONDITION",
        "ABORTED",
        "OUT_OF_RANGE",
        "UNIMPLEMENTED",
        "INTERNAL",
        "UNAVAILABLE",
        "DATA_LOSS",
        "UNAUTHENTICATED",
    }
)


class Metrics:
    """Counts what happens; see the module."""

    def __init__(
        self,
        clock: Clock,
        methods: Mapping[str, bool],
        known_model: Callable[[str], bool],
        *,
        wall: Callable[[], float] = time.time,
        named_models: Callable[[], Iterable[str]] = tuple,
    ) -> None:
        """Count from now on.

        Args:
            clock: Measures windows and uptime.
            methods: Full names of the contract's methods, each with whether its answer streams.
            known_model: Whether a model, by its short name, is one that the registry knows.
            wall: Gives seconds since the epoch.
            named_models: Gives the models that are shown before their first call.
        """
        self._clock = clock
        self._wall = wall
        self._streaming = frozenset(name for name, streams in methods.items() if streams)
        self._known_methods = frozenset(methods)
        self._known_model = known_model
        self._named_models = named_models
        self._methods: dict[str, Series] = {}
        self._models: dict[str, Series] = {}
        self._running: dict[str, str] = {}  # the model of each execution, once it is known
        self._embedded: dict[str, list[int]] = {}  # tokens of embeddings, by label of the model
        self._sources: list[Source] = []
        self._shown: set[str] = set()
        self._registry: CollectorRegistry | None = None
        self.started = clock.now()
        self.add_source(lambda: traffic.families(self))

    def listen(self, bus: Bus) -> None:
        """Count what is published from now on."""
        bus.subscribe(RpcStarted, self._rpc_started)
        bus.subscribe(RpcFinished, self._rpc_finished)
        bus.subscribe(ExecutionStarted, self._execution_started)
        bus.subscribe(ModelResolved, self._model_resolved)
        bus.subscribe(ExecutionFinished, self._execution_finished)

    def _rpc_started(self, event: RpcStarted) -> None:
        """Count one more call in flight."""
        series = self._methods.get(event.method) or self._method(event.method)
        series.in_flight += 1

    def _rpc_finished(self, event: RpcFinished) -> None:
        """Count one call less in flight, and how it ended."""
        series = self._methods.get(event.method) or self._method(event.method)
        series.in_flight -= 1
        code = outcome = event.code
        if code != OK:
            code = code if code in CODES else "UNKNOWN"
            outcome = _outcome(code, event.reason)
        series.add(self._clock.now(), code, outcome, event.seconds)

    def _execution_started(self, event: ExecutionStarted) -> None:
        """Count one more execution in flight; embeddings are none."""
        if event.work is not _EMBEDDING:
            self._running[event.execution] = ""

    def _model_resolved(self, event: ModelResolved) -> None:
        """Note the model of an execution in flight."""
        if event.execution in self._running:
            self._running[event.execution] = event.model

    def _execution_finished(self, event: ExecutionFinished) -> None:
        """Count one execution, by the model that was asked for; of embeddings the tokens alone."""
        if event.work is _EMBEDDING:
            self._embeddings_finished(event)
            return
        self._running.pop(event.execution, None)
        code, reason = event.code, event.reason
        outcome = code
        if reason:
            outcome = reason if reason in REASONS else OTHER
        tokens = None if event.usage is None or not event.pays else _tokens_of(event.usage)
        series = self._model(event.model, served=code == OK)
        first, now = event.first_token_seconds, self._clock.now()
        series.add(now, code, outcome, event.seconds, first_token=first, tokens=tokens)

    def _embeddings_finished(self, event: ExecutionFinished) -> None:
        if event.usage is None:
            return
        label = self._label(event.model, served=event.code == OK)
        counted = self._embedded.setdefault(label, [0] * len(KINDS))
        for place, count in enumerate(_tokens_of(event.usage)):
            counted[place] += count

    def add_source(self, source: Source) -> None:
        """Show what `source` gives when it is asked, from the next exposition on.

        It is asked once at this moment, for the names.

        Raises:
            ValueError: there is a metric of such a name.
        """
        names = {family.name for family in source()}
        if taken := names & self._shown:
            msg = f"there is a metric {min(taken)} already"
            raise ValueError(msg)
        self._shown |= names
        self._sources.append(source)

    def performance(
        self, window_seconds: float = MAX_WINDOW_SECONDS, model: str = ""
    ) -> Performance:
        """Return the figures of the recent past.

        Args:
            window_seconds: How far back, 5 to 300, rounded up to whole slots of 5.
            model: Only this one, by full or short name; empty for all.
        """
        now, wall = self._clock.now(), self._wall()
        covered = covered_seconds(now, window_seconds, self.started)
        running = self.running_by_model()
        wanted = [self.label_of(model)] if model else [*self._models, *running]
        names = [name for name in dict.fromkeys(wanted) if name in self._models or name in running]
        recent = {name: self._recent(self._models.get(name), now, window_seconds) for name in names}
        models = {
            name: stats_of(tallies, covered, running.get(name, 0))
            for name, tallies in recent.items()
        }
        in_flight = sum(running.get(name, 0) for name in names)
        uptime = now - self.started
        whole = [self._models[name] for name in names if name in self._models]
        return Performance(
            start=wall - covered,
            end=wall,
            executions=stats_of((t for row in recent.values() for t in row), covered, in_flight),
            models=_busiest(models),
            methods=() if model else self._method_stats(now, window_seconds, covered),
            since_start=totals_of(whole, uptime, in_flight),
        )

    def outcomes(self, model: str, after: float) -> Counter[str]:
        """Return how a model's executions ended, counted by outcome.

        Args:
            model: The label of the model.
            after: Count from the first slot of 5 s that has begun after this moment of the clock,
                at most 5 minutes ago.
        """
        counts: Counter[str] = Counter()
        series = self._models.get(model)
        if series is not None:
            for tally in series.counted.ring.begun_after(self._clock.now(), after):
                counts.update(tally.outcomes)
        return counts

    def rates(self) -> Rates:
        """Return what ended per second over the last minute."""
        now = self._clock.now()
        covered = covered_seconds(now, RATE_SECONDS, self.started)
        calls, executions, errors, tokens = 0, 0, 0, 0
        for series in self._methods.values():
            for tally in series.counted.ring.recent(now, RATE_SECONDS):
                calls += sum(tally.outcomes.values())
        for series in self._models.values():
            for tally in series.counted.ring.recent(now, RATE_SECONDS):
                ended = sum(tally.outcomes.values())
                executions += ended
                good = tally.outcomes.get(OK, 0) + tally.outcomes.get(CANCELLED, 0)
                errors += ended - good
                # cached tokens are part of the prompt's
                tokens += sum(tally.tokens) - tally.tokens[1]
        per = 1 / covered if covered > 0 else 0.0
        return Rates(calls * per, executions * per, errors * per, tokens * per)

    @property
    def rpcs_in_flight(self) -> int:
        """Calls that run at this moment."""
        return sum(series.in_flight for series in self._methods.values())

    @property
    def open_streams(self) -> int:
        """Calls that run at this moment and whose answer streams."""
        return sum(s.in_flight for name, s in self._methods.items() if name in self._streaming)

    @property
    def executions_in_flight(self) -> int:
        """Executions that run at this moment."""
        return len(self._running)

    def running_by_model(self) -> dict[str, int]:
        """Return how many executions run at this moment, by the label of their model."""
        counts: dict[str, int] = {}
        for model in self._running.values():
            label = self.label_of(model)
            counts[label] = counts.get(label, 0) + 1
        return counts

    def tokens_by_model(self) -> dict[str, list[int]]:
        """Return the tokens since the start in the order of `series.KINDS`, by label of the model.

        Those of embeddings are included.
        """
        counts = {label: list(series.counted.tokens) for label, series in self._models.items()}
        for label, embedded in self._embedded.items():
            kinds = zip(counts.get(label, [0] * len(KINDS)), embedded, strict=True)
            counts[label] = [one + more for one, more in kinds]
        return counts

    def label_of(self, model: str) -> str:
        """Return the label of a model: its short name where it is known, else `other`."""
        short = short_name(model)
        if short in self._models or short in self._embedded:
            return short
        known = bool(short) and self._has_room() and self._known_model(short)
        return short if known else OTHER

    @property
    def known_methods(self) -> frozenset[str]:
        """The methods of the contract."""
        return self._known_methods

    def first_models(self) -> list[str]:
        """Return the labels of models whose counters are shown at 0; see `zeros`."""
        named = [self.label_of(model) for model in self._named_models()]
        labels = dict.fromkeys([*named, *self._models, *self.running_by_model()])
        labels.pop(OTHER, None)
        return list(labels)[:MOST_MODELS]

    @property
    def methods(self) -> Mapping[str, Series]:
        """What was counted, by the label of the method."""
        return self._methods

    @property
    def models(self) -> Mapping[str, Series]:
        """What was counted, by the label of the model."""
        return self._models

    def families(self) -> Iterator[Family]:
        """Yield what the sources give now."""
        for source in self._sources:
            yield from source()

    def exposition(self) -> bytes:
        """Return everything as Prometheus' text format 0.0.4."""
        # imported on first use: it is not needed to be ready
        from gemini_backend.telemetry.metrics.exposition import registry_of, text  # noqa: PLC0415

        if self._registry is None:
            self._registry = registry_of(self.families, self.label_of)
        return text(self._registry)

    def _method(self, method: str) -> Series:
        series = self._methods.get(method)
        if series is None:
            label = method if method in self._known_methods else OTHER
            series = self._methods.setdefault(label, Series())
        return series

    def _has_room(self) -> bool:
        return len(self._models) + len(self._embedded) < MAX_MODELS

    def _label(self, model: str, *, served: bool) -> str:
        label = self.label_of(model)
        if label == OTHER and served and self._has_room():
            # the registry may not have read the upstream's list yet, but the upstream knows it
            label = short_name(model) or OTHER
        return label

    def _model(self, model: str, *, served: bool) -> Series:
        label = _short_name(model)
        series = self._models.get(label)
        if series is not None:
            return series
        label = self._label(model, served=served)
        series = self._models.get(label)
        if series is None:
            series = self._models[label] = Series()
        return series

    def _recent(self, series: Series | None, now: float, seconds: float) -> list[SeriesTotals]:
        return [] if series is None else series.counted.ring.recent(now, seconds)

    def _method_stats(
        self, now: float, window: float, covered: float
    ) -> tuple[tuple[str, Stats], ...]:
        return _busiest(
            {
                name: stats_of(series.counted.ring.recent(now, window), covered, series.in_flight)
                for name, series in self._methods.items()
            }
        )


def _busiest(stats: dict[str, Stats]) -> tuple[tuple[str, Stats], ...]:
    """Return what had any traffic, the busiest first, then by name."""
    busy = [(name, one) for name, one in stats.items() if one.counts.total or one.in_flight]
    return tuple(sorted(busy, key=lambda pair: (-pair[1].counts.total, pair[0])))


def _outcome(code: str, reason: str) -> str:
    if code == CANCELLED:
        return code
    return reason if reason in REASONS else OTHER


def _tokens_of(usage: Usage) -> tuple[int, int, int, int, int]:
    """Return the counts in the order of `series.KINDS`."""
    return (
        usage.prompt_token_count,
        usage.cached_content_token_count,
        usage.candidates_token_count,
        usage.thoughts_token_count,
        usage.tool_use_prompt_token_count,
    )
