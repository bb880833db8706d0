"""The models: the catalogue, merged with what the upstream lists at the moment."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import msgspec

from gemini.backend.v1.content_pb2 import ModelStage
from gemini_backend.models.catalogue_schema import ModelLifecycle
from gemini_backend.models.names import full_name, short_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from gemini.backend.v1.content_pb2 import ModelStatus
    from gemini_backend.models.catalogue import Catalogue
    from gemini_backend.models.catalogue_schema import CatalogueEntry
    from gemini_backend.models.listing import ModelListing, UpstreamModel

_log = logging.getLogger(__name__)
_ENDING = {
    ModelStage.MODEL_STAGE_LEGACY,
    ModelStage.MODEL_STAGE_DEPRECATED,
    ModelStage.MODEL_STAGE_RETIRED,
}
# Seconds; days begin at midnight UTC.
_DAY = 86_400
# Names that were looked for and what is known; beyond so many all are forgotten.
_REMEMBERED = 4096
_EARLY = {
    ModelStage.MODEL_STAGE_UNSTABLE_EXPERIMENTAL,
    ModelStage.MODEL_STAGE_EXPERIMENTAL,
    ModelStage.MODEL_STAGE_PREVIEW,
}


@dataclass(frozen=True, slots=True)
class Known:
    """All that is known of one model: from the catalogue, from the upstream's list, or from both.

    `listed` is None where the upstream does not list it; `asked` says whether it was ever asked.
    `former` is what it listed once, of a model that it lists no longer.
    """

    name: str
    entry: CatalogueEntry | None
    listed: UpstreamModel | None
    asked: bool
    former: UpstreamModel | None = None

    @property
    def input_limit(self) -> int:
        """Most tokens of a prompt; the upstream's word counts for more; 0 where not known."""
        listed = 0 if self.listed is None else self.listed.input_token_limit
        return listed or (0 if self.entry is None else self.entry.input_token_limit)

    @property
    def output_limit(self) -> int:
        """Most tokens of the answer to one request; 0 where not known."""
        listed = 0 if self.listed is None else self.listed.output_token_limit
        return listed or (0 if self.entry is None else self.entry.output_token_limit)

    @property
    def total_output_limit(self) -> int:
        """Most tokens of an answer over all hops of a long decode; 0 where not known."""
        total = 0 if self.entry is None else self.entry.total_output_token_limit
        return max(self.output_limit, total)


class Registry:
    """Finds models by name or alias; asks nobody."""

    def __init__(
        self, catalogue: Catalogue, listing: ModelListing, wall: Callable[[], float]
    ) -> None:
        """Merge `catalogue` with what `listing` has read; `wall` gives seconds since the epoch."""
        self.catalogue = catalogue
        self._listing = listing
        self._wall = wall
        self._found: dict[str, Known | None] = {}
        self._found_of = (0, 0)

    def edition(self) -> tuple[int, int, int]:
        """Return what differs when a model's life, prices or limits may: by change, and by day."""
        return self.catalogue.revision, self._listing.revision, int(self._wall() // _DAY)

    def now(self) -> datetime:
        """Return the moment that lifecycles and prices are judged at."""
        return datetime.fromtimestamp(self._wall(), UTC)

    def find(self, name: str) -> Known | None:
        """Return a model by its name, short or full, or an alias; None where nobody knows it."""
        of = (self.catalogue.revision, self._listing.revision)
        if of != self._found_of or len(self._found) >= _REMEMBERED:
            self._found_of = of
            self._found.clear()
        found = self._found.get(name)
        if found is None and name not in self._found:
            found = self._found[name] = self._look_for(name)
        return found

    def _look_for(self, name: str) -> Known | None:
        entry = self.catalogue.find(name)
        own = full_name(name if entry is None else entry.name)
        listed = self._listing.find(own) or self._listing.find(full_name(name))
        former = None if listed is not None else self._listing.find_former(own)
        if entry is None and listed is None and former is None:
            return None
        asked = self._listing.age_seconds() is not None
        return Known(own, entry, listed, asked, former)

    def real_name(self, name: str) -> str:
        """Return the full name behind a name or alias; itself where nobody knows it."""
        known = self.find(name)
        return name if known is None else known.name

    def all(self) -> Iterator[Known]:
        """Give every model, by name; an alias that the upstream lists is not one of its own."""
        names = {full_name(entry.name) for entry in self.catalogue}
        told = (*self._listing.known(), *self._listing.former())
        names |= {one for one in told if self.catalogue.find(one) is None}
        for name in sorted(names):
            known = self.find(name)
            if known is not None:
                yield known

    def billed_name(self, version: str) -> str | None:
        """Return the name of the model whose prices hold for a served version; None for none."""
        entry = self.catalogue.billed(version)
        return None if entry is None else entry.name

    def limits(self, name: str) -> tuple[int, int] | None:
        """Return the most tokens of a prompt and of an answer; None where nothing is known."""
        known = self.find(name)
        if known is None or not known.input_limit:
            return None
        return known.input_limit, known.output_limit

    def learn(self, version: str, status: ModelStatus) -> None:
        """Believe what the model API says of the model that served, for as long as this runs.

        Its end, if that is to come; that it is deprecated, or retired, which a model that answers
        is no more than deprecated; that it is a preview, or none any more.
        """
        entry = self.catalogue.billed(version)
        if entry is None:
            return
        better = _better(entry, status, self.now())
        if better != entry:
            self.catalogue.put(better)
            told = {"model": entry.name, "stage": ModelStage.Name(status.model_stage)}
            _log.warning("the model API reports a different lifecycle of a model", extra=told)

    def generation(self, name: str) -> float | None:
        """Return the generation that the catalogue says of a model; None where it does not."""
        entry = self.catalogue.find(name)
        return None if entry is None else entry.generation

    def output_limits(self, name: str) -> tuple[int, int]:
        """Return the most tokens of the answer to one request, and over all hops of a long decode.

        Each is 0 where it is not known.
        """
        known = self.find(name)
        return (0, 0) if known is None else (known.output_limit, known.total_output_limit)

    def lifecycle(self, entry: CatalogueEntry) -> ModelLifecycle:
        """Return where a model stands now."""
        return entry.lifecycle(self.now())

    def successor(self, entry: CatalogueEntry) -> CatalogueEntry | None:
        """Return the model that takes a model's place, itself still served; None for none."""
        while entry.replacement is not None:
            following = self.catalogue.find(short_name(entry.replacement))
            if following is None:
                return None
            if self.lifecycle(following) is not ModelLifecycle.GONE:
                return following
            entry = following
        return None


def _better(entry: CatalogueEntry, status: ModelStatus, now: datetime) -> CatalogueEntry:
    """Return what is known of a model's life, with what the model API says of it."""
    stage, today = status.model_stage, now.astimezone(UTC).date()
    if status.HasField("retirement_time"):
        end = status.retirement_time.ToDatetime(UTC).date()
        if end > today:
            entry = msgspec.structs.replace(entry, shutdown=end)
    if stage in _ENDING and entry.lifecycle(now) in {ModelLifecycle.PREVIEW, ModelLifecycle.STABLE}:
        entry = msgspec.structs.replace(entry, deprecation=today)
    if stage in _EARLY or stage == ModelStage.MODEL_STAGE_STABLE:
        entry = msgspec.structs.replace(entry, preview=stage in _EARLY)
    return entry
