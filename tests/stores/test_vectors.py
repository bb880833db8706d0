"""Vectors find what was asked alike, within a partition, and are bounded."""

from __future__ import annotations

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from gemini_backend.stores.vectors import Vectors

A, B = b"partition a", b"partition b"


async def test_the_most_alike_above_the_threshold_is_found() -> None:
    """Nearness is the cosine: length does not matter, direction does."""
    vectors = Vectors(2, 10)
    vectors.add(A, [1, 0], b"east")
    vectors.add(A, [0, 5], b"north")
    assert (b"north", 1.0) == await vectors.nearest(A, [0, 0.1], 0.9)
    assert await vectors.nearest(A, [1, 1], 0.9) is None
    assert await vectors.nearest(B, [1, 0], 0.9) is None


async def test_beyond_the_bound_the_oldest_goes() -> None:
    """Places are taken anew in turn, over all partitions."""
    vectors = Vectors(2, 3)
    for number, partition in enumerate((A, B, A, A)):
        vectors.add(partition, [1, number], b"%d" % number)
    assert (3, None) == (len(vectors), await vectors.nearest(A, [1, 0], 0.9999))
    found = await vectors.nearest(B, [1, 1], 0.9999)
    assert b"1" == (found or (b"",))[0]


async def test_what_is_no_vector_is_not_kept() -> None:
    """Another length, no length, or numbers that are none: nothing is kept, nothing is found."""
    vectors = Vectors(2, 3)
    for bad in ([1.0], [0.0, 0.0], [float("nan"), 1.0], [float("inf"), 1.0]):
        vectors.add(A, bad, b"k")
        assert await vectors.nearest(A, bad, 0.5) is None
    assert 0 == len(vectors)


ADDED = st.lists(st.tuples(st.sampled_from([A, B]), st.integers(0, 359)), max_size=30)


@given(added=ADDED, angle=st.integers(0, 359), bound=st.integers(1, 12))
def test_against_a_list(added: list[tuple[bytes, int]], angle: int, bound: int) -> None:
    """Whatever was added, what is found is the nearest of the latest ones of the partition."""
    from math import cos, radians, sin  # noqa: PLC0415

    def vector(degrees: int) -> list[float]:
        return [cos(radians(degrees)), sin(radians(degrees))]

    vectors = Vectors(2, bound)
    kept: list[tuple[bytes, int]] = []
    for partition, degrees in added:
        if (partition, degrees) not in kept:
            kept.append((partition, degrees))
            kept = kept[-bound:]
        vectors.add(partition, vector(degrees), b"%d" % degrees)
    found = asyncio.run(vectors.nearest(A, vector(angle), 0.5))
    alike = [cos(radians(angle - degrees)) for partition, degrees in kept if partition == A]
    best = max(alike, default=-1.0)
    if abs(best - 0.5) > 1e-3:
        assert (best >= 0.5) == (found is not None)
    if found is not None:
        assert abs(found[1] - best) < 1e-3
