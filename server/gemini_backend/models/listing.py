"""The models that the upstream offers: read when first asked for, kept, read again in time."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from gemini_backend.errors import ServiceError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from gemini_backend.clock import Clock

_log = logging.getLogger(__name__)

MAX_FORMER = 1000
# While it was never read, it is tried again after so long at the most.
_RETRY_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class UpstreamModel:
    """A model as the upstream lists it; limits in tokens, 0 when it does not say."""

    name: str
    base_model_id: str = ""
    version: str = ""
    display_name: str = ""
    description: str = ""
    input_token_limit: int = 0
    output_token_limit: int = 0
    supported_methods: tuple[str, ...] = ()
    thinking: bool = False
    temperature: float | None = None
    max_temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)


class ModelListing:
    """Keeps the upstream's list for a while; many who ask at once cost one reading.

    When a later reading fails, the list that was read before goes on being given. What was listed
    once and is no longer is remembered, at most `MAX_FORMER` of them, the latest.

    Attributes:
        refresh_seconds: How long a list is good.
        revision: How many times it was read.
    """

    def __init__(
        self,
        fetch: Callable[[], Awaitable[list[UpstreamModel]]],
        clock: Clock,
        refresh_seconds: float,
    ) -> None:
        """Read by `fetch`, at most every `refresh_seconds` unless it failed."""
        self._fetch = fetch
        self._clock = clock
        self.refresh_seconds = refresh_seconds
        self.revision = 0
        self._models: dict[str, UpstreamModel] = {}
        self._former: dict[str, UpstreamModel] = {}
        self._read_at: float | None = None
        self._reading: asyncio.Task[None] | None = None

    async def all(self) -> list[UpstreamModel]:
        """Return every model, in the upstream's order.

        Raises:
            ServiceError: the list has never been read, and cannot be read now.
        """
        if self._stale():
            try:
                await self._read()
            except ServiceError as error:
                if self._read_at is None:
                    raise
                _log.warning(
                    "the list of models could not be refreshed", extra={"reason": error.reason}
                )
        return list(self._models.values())

    async def first(self, seconds: float) -> None:
        """Wait until the list was read, or could not be, but no longer than that."""
        with suppress(ServiceError, TimeoutError):
            async with self._clock.timeout(seconds):
                await self.all()

    async def keep_fresh(self) -> None:
        """Read the list now and whenever it is due again, until cancelled."""
        while True:
            try:
                await self.all()
            except ServiceError as error:
                _log.warning("the list of models could not be read", extra={"reason": error.reason})
            never = self._read_at is None
            await self._clock.sleep(
                min(self.refresh_seconds, _RETRY_SECONDS) if never else self.refresh_seconds
            )

    def known(self) -> tuple[str, ...]:
        """Return the full names read so far, without asking anybody."""
        return tuple(self._models)

    def find(self, name: str) -> UpstreamModel | None:
        """Return a model by its full name, as far as it was read, without asking anybody."""
        return self._models.get(name)

    def former(self) -> tuple[str, ...]:
        """Return the full names that were listed once and are no longer."""
        return tuple(self._former)

    def find_former(self, name: str) -> UpstreamModel | None:
        """Return a model that is no longer listed, as it was, by its full name."""
        return self._former.get(name)

    def age_seconds(self) -> float | None:
        """Return how long ago the list was read; None when it never was."""
        return None if self._read_at is None else self._clock.now() - self._read_at

    async def aclose(self) -> None:
        """End a reading under way."""
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.gather(self._reading, return_exceptions=True)

    def _stale(self) -> bool:
        age = self.age_seconds()
        return age is None or age >= self.refresh_seconds

    async def _read(self) -> None:
        if self._reading is None:
            self._reading = asyncio.create_task(self._read_once())
            # whoever asked may have gone by the time that it fails
            self._reading.add_done_callback(lambda task: task.cancelled() or task.exception())
        await asyncio.shield(self._reading)

    async def _read_once(self) -> None:
        try:
            models = await self._fetch()
        finally:
            self._reading = None
        self._take({model.name: model for model in models})
        self._read_at = self._clock.now()

    def _take(self, models: dict[str, UpstreamModel]) -> None:
        before = self._models
        if self._read_at is not None:
            for name in sorted(models.keys() - before.keys()):
                _log.info("the upstream lists a new model", extra={"model": name})
            for name in sorted(before.keys() - models.keys()):
                _log.warning("the upstream no longer lists a model", extra={"model": name})
        kept = {name: one for name, one in {**self._former, **before}.items() if name not in models}
        self._former = dict(list(kept.items())[-MAX_FORMER:])
        self.revision += 1
        self._models = models
