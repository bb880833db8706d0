"""The upstream's models, read when first asked for."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from gemini_backend.errors import UpstreamUnavailable
from gemini_backend.models import listing as listing_module
from gemini_backend.models.listing import ModelListing, UpstreamModel

if TYPE_CHECKING:
    from tests.support.clock import FakeClock


class Source:
    """Stands in for the upstream's list."""

    def __init__(self) -> None:
        self.reads = 0
        self.down = False
        self.gate = asyncio.Event()
        self.gate.set()

    async def __call__(self) -> list[UpstreamModel]:
        self.reads += 1
        await self.gate.wait()
        if self.down:
            raise UpstreamUnavailable("down")
        return [UpstreamModel(name=f"models/{self.reads}")]


async def test_the_list_is_kept_for_a_while(clock: FakeClock) -> None:
    """Within the refresh time the list is read once; after it, again."""
    source = Source()
    listing = ModelListing(source, clock, 60)
    assert () == listing.known()
    assert ["models/1"] == [model.name for model in await listing.all()]
    await clock.advance(59)
    assert ["models/1"] == [model.name for model in await listing.all()]
    await clock.advance(2)
    assert ["models/2"] == [model.name for model in await listing.all()]


async def test_many_askers_cost_one_reading(clock: FakeClock) -> None:
    """Who asks while the list is being read waits for that reading."""
    source = Source()
    source.gate.clear()
    listing = ModelListing(source, clock, 60)
    asking = [asyncio.ensure_future(listing.all()) for _ in range(10)]
    await clock.advance(0)
    source.gate.set()
    await asyncio.gather(*asking)
    assert 1 == source.reads


async def test_a_former_list_outlives_a_failure(clock: FakeClock) -> None:
    """A failed reading is an error only while nothing has ever been read."""
    source = Source()
    source.down = True
    listing = ModelListing(source, clock, 60)
    with pytest.raises(UpstreamUnavailable):
        await listing.all()
    source.down = False
    await listing.all()
    source.down = True
    await clock.advance(61)
    assert ["models/2"] == [model.name for model in await listing.all()]


async def test_the_list_is_kept_fresh_whatever_fails(clock: FakeClock) -> None:
    """Kept fresh, it is read at each interval, and sooner again while it never could be read."""
    source = Source()
    source.down = True
    listing = ModelListing(source, clock, 60)
    keeping = asyncio.ensure_future(listing.keep_fresh())
    await clock.advance(1)
    assert (1, ()) == (source.reads, listing.known())
    source.down = False
    await clock.advance(10)
    assert (2, ("models/2",)) == (source.reads, listing.known())
    source.down = True
    await clock.advance(60)
    assert (3, ("models/2",)) == (source.reads, listing.known())
    await clock.advance(50)
    assert 3 == source.reads
    keeping.cancel()
    await asyncio.gather(keeping, return_exceptions=True)


@pytest.mark.parametrize("down", [False, True])
async def test_the_first_list_is_waited_for_a_while(clock: FakeClock, down: bool) -> None:
    """Whoever needs it waits until it was read or failed, and no longer than it may take."""
    source = Source()
    source.down = down
    listing = ModelListing(source, clock, 60)
    await listing.first(1)
    assert (() if down else ("models/1",)) == listing.known()
    slow = Source()
    slow.gate.clear()
    listing = ModelListing(slow, clock, 60)
    waiting = asyncio.ensure_future(listing.first(1))
    await clock.advance(0.9)
    assert not waiting.done()
    await clock.advance(0.2)
    assert waiting.done()
    slow.gate.set()
    assert ["models/1"] == [model.name for model in await listing.all()]


async def test_what_was_listed_once_is_remembered(
    clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As it was, until it is listed again; of too many, the oldest are forgotten."""
    monkeypatch.setattr(listing_module, "MAX_FORMER", 2)
    source = Source()
    listing = ModelListing(source, clock, 60)
    for number in range(1, 5):
        await listing.all()
        assert (f"models/{number}",) == listing.known()
        await clock.advance(61)
    assert ("models/2", "models/3") == listing.former()
    found = listing.find_former("models/3")
    assert found is not None
    assert "models/3" == found.name
    source.reads = 1
    await listing.all()
    assert (("models/2",), ("models/3", "models/4")) == (listing.known(), listing.former())
