"""The policies round an execution, as those see them who watch: how they stand, what they did.

Everything is read when somebody asks; the policies only add to integers.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from gemini_backend.policies.attempts.breaker import Breaker
from gemini_backend.policies.attempts.fallback import Fallback
from gemini_backend.policies.attempts.hedging.hedge import Hedge
from gemini_backend.policies.attempts.retry import Retry
from gemini_backend.policies.cache.semantic import SemanticCache
from gemini_backend.policies.flow.admission import PRIORITIES, Admission
from gemini_backend.policies.flow.quota import Quota
from gemini_backend.policies.flow.rate_limit import RateLimit
from gemini_backend.policies.long_answers.continuation import ENDINGS, Continuation
from gemini_backend.policies.sharing.journal import Journal
from gemini_backend.policies.sharing.single_flight import SingleFlight
from gemini_backend.telemetry.component_status import CircuitState, KeyState, Standing
from gemini_backend.telemetry.metrics.metric_families import MODEL, Family

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from gemini_backend.policies.attempts.key_pool import KeyPool
    from gemini_backend.policies.chain import Chain
    from gemini_backend.stores.memory_answers import MemoryAnswers
    from gemini_backend.telemetry.metrics.listeners.cache_counts import CacheCounts


class Overview:
    """The layers and stores, and what they tell together."""

    def __init__(
        self,
        chain: Chain,
        keys: KeyPool,
        answers: MemoryAnswers,
        counts: CacheCounts,
        caching: Callable[[], bool],
    ) -> None:
        """Look at the layers of `chain`; `caching` says whether the cache is on."""
        self.rate_limit = chain.get(RateLimit)
        self.fallback = chain.get(Fallback)
        self.continuation = chain.get(Continuation)
        self.hedge = chain.get(Hedge)
        self.retry = chain.get(Retry)
        self.breaker = chain.get(Breaker)
        self.quota = chain.get(Quota)
        self.admission = chain.get(Admission)
        self.coalesce = chain.get(SingleFlight)
        self.journal = chain.find(Journal)
        self.semantic = chain.find(SemanticCache)
        self.keys = keys
        self.answers = answers
        self.counts = counts
        self.caching = caching

    def component_status(self) -> Standing:
        """Return how everything stands now."""
        return Standing(
            circuits=tuple(self.breaker.states()),
            quotas=tuple(self.quota.states()),
            admission=self.admission.state(),
            keys=tuple(self.keys.states()),
            journal=None if self.journal is None else self.journal.store.state(),
            caching=self.caching(),
        )

    def families(self) -> Iterator[Family]:
        """Yield every metric."""
        yield from self._circuits()
        yield from self._attempts()
        yield from self._quotas()
        yield from self._slots()
        yield from self._answers()
        yield from self._journal()
        keys = Counter(key.state for key in self.keys.states())
        values = {(state.name.lower(),): float(keys[state]) for state in KeyState}
        yield Family("gauge", "upstream_keys", "Upstream keys, by state.", values, ("state",))

    def _circuits(self) -> Iterator[Family]:
        states: Counter[tuple[str, ...]] = Counter()
        rejected: Counter[tuple[str, ...]] = Counter({("",): self.breaker.forgotten_rejected})
        for circuit in self.breaker.states():
            for state in CircuitState:
                states[circuit.key, state.name.lower()] += circuit.state is state
            rejected[circuit.key,] += circuit.rejected
        said = "Circuit breakers, by state: 1 for the current state of a model's breaker."
        yield Family("gauge", "circuits", said, states, (MODEL, "state"))
        said = "Calls refused by an open circuit."
        yield Family("counter", "circuit_rejected_calls", said, rejected, (MODEL,))

    def _attempts(self) -> Iterator[Family]:
        counts = self.retry.counts
        retries = {
            ("made",): counts.retries,
            ("out_of_attempts",): counts.out_of_attempts,
            ("out_of_budget",): counts.out_of_budget,
            ("out_of_time",): counts.out_of_time,
        }
        said = "Retries that were made, and failures that were not retried, by reason."
        yield Family("counter", "retries", said, retries, ("result",))
        yield Family.counter("hedges_sent", "Hedged second attempts.", self.hedge.hedged)
        yield Family.counter(
            "hedges_won", "Hedged second attempts that answered first.", self.hedge.won
        )
        said = "Switches to a fallback model."
        yield Family.counter("fallback_switches", said, self.fallback.switched)
        said = "Further requests for answers that Gemini interrupted with CONTINUATION."
        yield Family.counter("continuations", said, self.continuation.followed)
        ends = {(why,): float(self.continuation.endings[why]) for why in ENDINGS}
        said = "Answers with continuations that were not followed to their end, by reason."
        yield Family("counter", "continuations_ended", said, ends, ("why",))

    def _quotas(self) -> Iterator[Family]:
        available: dict[tuple[str, ...], float] = {}
        capacity: dict[tuple[str, ...], float] = {}
        blocked: dict[tuple[str, ...], float] = {}
        for quota in self.quota.states():
            key = (quota.model, quota.kind.name.lower())
            available[key] = available.get(key, 0) + quota.available
            capacity[key] = capacity.get(key, 0) + quota.capacity
            blocked[key] = blocked.get(key, 0) + (quota.blocked_until is not None)
        labels = (MODEL, "kind")
        yield Family("gauge", "quota_available", "Available quota.", available, labels)
        yield Family("gauge", "quota_capacity", "Capacity of a quota.", capacity, labels)
        said = "1 while upstream has closed the quota."
        yield Family("gauge", "quota_blocked", said, blocked, labels)
        said = "Executions waiting for quota."
        yield Family.gauge("quota_waiting", said, self.quota.waiting)
        said = "Executions refused because upstream's quota was used up."
        yield Family.counter("quota_refusals", said, self.quota.refused)
        said = "Executions refused by the caller's rate limit."
        yield Family.counter("rate_limit_refusals", said, self.rate_limit.refused)

    def _slots(self) -> Iterator[Family]:
        state = self.admission.state()
        yield Family.gauge("admission_running", "Attempts that hold a slot.", state.running)
        limit: dict[tuple[str, ...], float] = {} if state.limit is None else {(): state.limit}
        yield Family(
            "gauge", "admission_limit", "Number of slots; absent if there is no limit.", limit
        )
        said = "How late the event loop is while attempts run."
        yield Family.gauge("admission_loop_delay_seconds", said, state.loop_delay)
        queued = {
            (name,): float(count) for name, count in zip(PRIORITIES, state.queued, strict=True)
        }
        said = "Attempts waiting for a slot."
        yield Family("gauge", "admission_queued", said, queued, ("priority",))
        refusals = {(why.name.lower(),): n for why, n in self.admission.refusals.items()}
        said = "Attempts that were refused a slot, by reason."
        yield Family("counter", "admission_refusals", said, refusals, ("why",))
        said = "Time in the queue, for attempts that waited and got a slot."
        yield Family("histogram", "admission_wait_seconds", said, {(): self.admission.waits})

    def _answers(self) -> Iterator[Family]:
        yield from self._both_caches()
        said = "Stale answers served because upstream had failed."
        yield Family.counter("cache_stale_hits", said, self.counts.exact.results["stale"])
        yield Family.counter("cache_stores", "Answers stored in the cache.", self.answers.stores)
        removals = {
            ("evicted",): self.answers.evictions,
            ("expired",): self.answers.expirations,
            ("too_large",): self.answers.refusals,
        }
        said = "Answers that were evicted, that expired, or that were too large to store."
        yield Family("counter", "cache_removals", said, removals, ("why",))
        said = "Executions that shared the run of another execution."
        yield Family.counter("coalesced_executions", said, self.counts.coalesced)
        said = "Runs in progress that identical executions may share."
        yield Family.gauge("coalesce_runs", said, self.coalesce.running)

    def _both_caches(self) -> Iterator[Family]:
        caches = {"exact": (self.counts.exact, self.answers.entries, self.answers.bytes)}
        if self.semantic is not None:
            vectors = self.semantic.vectors
            caches["semantic"] = (self.counts.semantic, len(vectors), vectors.size_bytes)
        entries = {(name,): kept for name, (_, kept, _) in caches.items()}
        sizes = {(name,): size for name, (_, _, size) in caches.items()}
        saved = {(name,): lookups.saved.total for name, (lookups, _, _) in caches.items()}
        lookups = {
            (name, result): lookups.results[result]
            for name, (lookups, _, _) in caches.items()
            for result in ("hit", "miss", "bypass")
        }
        yield Family("gauge", "cache_entries", "Entries of a cache.", entries, ("cache",))
        yield Family("gauge", "cache_bytes", "Memory used by the entries.", sizes, ("cache",))
        said = "Look-ups in a cache by result; bypass: the request did not use the cache."
        yield Family("counter", "cache_lookups", said, lookups, ("cache", "result"))
        said = "Tokens saved by hits."
        yield Family("counter", "cache_saved_tokens", said, saved, ("cache",))

    def _journal(self) -> Iterator[Family]:
        if self.journal is None:
            return
        state = self.journal.store.state()
        said = "Executions whose events are stored."
        yield Family.gauge("journal_executions", said, state.executions)
        yield Family.gauge("journal_bytes", "Memory used by their events.", state.bytes)
        said = "Executions evicted because the journal was full."
        yield Family.counter("journal_evictions", said, state.evicted)
        yield Family.counter("journal_resumes", "Resumed streams.", self.counts.resumed)
        said = "Executions that outlived their connection."
        yield Family.counter("journal_detached", said, self.counts.detached)
