"""What fuzzing has found, and where it began, is replayed; and a few bytes at random are tried."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzz.draws import Draws
from tests.fuzz.targets import TARGETS, check_of

CORPUS = Path(__file__).parent / "corpus"
FILES = sorted(file for target in TARGETS for file in (CORPUS / target).iterdir())
_MOST_FILES, _MOST_BYTES = 64, 4096


@pytest.mark.parametrize("file", FILES, ids=lambda file: f"{file.parent.name}/{file.name}")
def test_the_corpus_keeps_the_rule_of_its_target(file: Path) -> None:
    """Each file is one input; those that were findings are named by what they found."""
    assert check_of(file.parent.name)(file.read_bytes()) is None  # type: ignore[func-returns-value]


@pytest.mark.parametrize("target", TARGETS)
def test_any_bytes_keep_the_rule_of_a_target(target: str) -> None:
    """A little of what `make fuzz` does, also where atheris is not installed."""
    check = check_of(target)

    @settings(max_examples=40)
    @given(st.binary(max_size=400))
    def holds(data: bytes) -> None:
        assert check(data) is None  # type: ignore[func-returns-value]

    holds()


@pytest.mark.parametrize("target", TARGETS)
def test_the_corpus_stays_small(target: str) -> None:
    """It is replayed by each change: few files, each as short as what it is for allows."""
    sizes = [file.stat().st_size for file in (CORPUS / target).iterdir()]
    assert 0 < len(sizes) <= _MOST_FILES
    assert max(sizes) <= _MOST_BYTES


@given(st.binary(max_size=50), st.integers(1, 1000))
def test_decisions_are_those_of_the_bytes(data: bytes, end: int) -> None:
    """The same bytes give the same decisions; all of them within their bounds, also at the end."""
    one, two = Draws(data), Draws(data)
    for draws in itertools.repeat((one, two), 60):
        first, second = (drawn.below(end) for drawn in draws)
        assert first == second < end
    assert (0, b"", "") == (one.left, one.rest(), one.text())


@given(st.binary(max_size=50), st.binary(max_size=30))
def test_pieces_are_the_whole(data: bytes, decisions: bytes) -> None:
    """What is cut is lost nowhere."""
    assert data == b"".join(Draws(decisions).pieces(data))
