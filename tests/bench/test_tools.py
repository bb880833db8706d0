"""The benchmark's own tools: the fake upstream, the load client and the yardsticks."""

from __future__ import annotations

import os
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from bench.programs import build, load, targets

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.programs.processes import Service


@pytest.fixture(scope="module")
def binaries() -> build.Binaries:
    """Return the compiled tools; where they cannot be compiled, skip, but fail under CI=true."""
    try:
        return build.build()
    except build.BuildError as error:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(str(error).splitlines()[0])


@pytest.fixture(scope="module")
def upstream(binaries: build.Binaries) -> Iterator[str]:
    """Return the address of a running fake upstream."""
    with running(targets.start_upstream(binaries.upstream)) as address:
        yield address


@contextmanager
def running(service: Service) -> Iterator[str]:
    """Yield the first address of a service, and stop the service at the end."""
    try:
        yield next(iter(service.addresses.values()))
    finally:
        service.stop()


@pytest.mark.parametrize(
    ("model", "events"), [("bench-unary", 1), ("bench-burst", 20), ("bench-paced-1x3", 3)]
)
def test_upstream_does_what_the_model_says(
    binaries: build.Binaries, upstream: str, model: str, events: int
) -> None:
    """The model's name tells how many events come."""
    request = targets.ask_gemini(upstream, model, events)
    outcome = load.run(binaries.load, request, load.Plan(total=10))
    assert (0, 10 * events) == (outcome.errors, outcome.messages)


def test_unknown_model_is_an_error(binaries: build.Binaries, upstream: str) -> None:
    """A status other than 200 fails the exchange, and says why."""
    request = targets.ask_gemini(upstream, "other", 20)
    outcome = load.run(binaries.load, request, load.Plan(total=3))
    assert (outcome.errors, outcome.first_error) == (3, "HTTP/1.1 404 Not Found")


def test_too_few_messages_are_an_error(binaries: build.Binaries, upstream: str) -> None:
    """An answer that ends well but early is counted as failed."""
    request = targets.ask_gemini(upstream, "bench-burstx2", 3)
    outcome = load.run(binaries.load, request, load.Plan(total=2))
    assert outcome.errors == 2


def test_streams_still_open_at_the_end_are_errors(binaries: build.Binaries, upstream: str) -> None:
    """What did not end in the time of the run has failed."""
    request = targets.ask_gemini(upstream, "bench-slow", 60)
    outcome = load.run(binaries.load, request, load.Plan(total=4, rate=1000, timeout=0.1))
    assert (outcome.errors, outcome.peak_open) == (4, 4)


@pytest.mark.parametrize("target", [targets.PASSTHROUGH, targets.BARE], ids=lambda each: each.key)
def test_yardsticks_pass_everything_on(
    binaries: build.Binaries, upstream: str, target: targets.Target
) -> None:
    """A yardstick that lost events would be cheaper than it may be."""
    with running(target.start(upstream)) as address:
        stream = load.run(
            binaries.load, target.ask(address, "bench-burst", 20), load.Plan(total=20)
        )
        unary = load.run(binaries.load, target.ask(address, "bench-unary", 1), load.Plan(total=20))
    assert (stream.errors, stream.messages) == (0, 400)
    assert (unary.errors, unary.messages) == (0, 20)
    assert len(stream.first_us) == 20


def test_wrong_rpc_is_an_error(binaries: build.Binaries, upstream: str) -> None:
    """A gRPC status other than OK fails the exchange, and is told."""
    with running(targets.BARE.start(upstream)) as address:
        request = replace(targets.ask_backend(address, "bench-burst", 20), path="/no.Such/Rpc")
        outcome = load.run(binaries.load, request, load.Plan(total=2))
    assert outcome.errors == 2
    assert outcome.first_error.startswith("grpc-status 12")
