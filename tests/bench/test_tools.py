"""The benchmark's own tools: the fake upstream, the load client and the yardsticks."""

from __future__ import annotations

import asyncio
import os
import urllib.request
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from bench import capacity
from bench.peers import PEERS, ferrogw, openai_api
from bench.peers.environment import FOLDER
from bench.programs import build, load, targets
from bench.programs.scripted_upstream import ScriptedUpstream

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


@pytest.mark.parametrize(("model", "events"), [("bench-unary", 1), ("bench-burst", 20)])
def test_upstream_answers_as_openai_too(
    binaries: build.Binaries, upstream: str, model: str, events: int
) -> None:
    """A gateway whose address of Gemini is fixed has the same events; then comes the end."""
    request = openai_api.ask(upstream, "/v1/chat/completions", model, events)
    body = request.body.replace(b'": ', b'":')
    outcome = load.run(binaries.load, replace(request, body=body), load.Plan(total=10))
    after_the_events = 2 if events > 1 else 0  # usage and [DONE]
    assert (0, 10 * (events + after_the_events)) == (outcome.errors, outcome.messages)


@pytest.mark.parametrize(("model", "alias"), ferrogw.NAMES.items())
def test_upstream_knows_the_models_that_a_peer_serves(
    upstream: str, model: str, alias: str
) -> None:
    """A name of Gemini's own has the same stream as the benchmark's model that it stands for."""
    assert _stream(upstream, model) == _stream(upstream, alias).replace(alias, model)


def _stream(upstream: str, model: str) -> str:
    address = f"http://{upstream}/v1beta/models/{model}:streamGenerateContent?alt=sse"
    request = urllib.request.Request(address, data=b"{}")
    with urllib.request.urlopen(request) as answer:
        text: str = answer.read().decode()
    return text


@pytest.mark.parametrize("peer", PEERS, ids=lambda each: each.key)
def test_peers_are_pinned_by_hash(peer: targets.Target) -> None:
    """What a peer is made of is locked, and the title names the version that is."""
    name, _, version = (FOLDER / f"{peer.key}.in").read_text().strip().partition("==")
    lock = (FOLDER / f"{peer.key}.lock").read_text()
    package = name.partition("[")[0]
    assert f"{package}=={version} \\\n    --hash=sha256:" in lock
    assert version in peer.title


@pytest.mark.parametrize("peer", PEERS, ids=lambda each: each.key)
def test_each_peer_says_what_it_does_and_does_not(peer: targets.Target) -> None:
    """A peer's figures come with what was on and what was off."""
    assert "Off" in peer.note


def test_scripted_upstream_tells_when_a_request_is_given_up() -> None:
    """A connection that the caller closes is seen closed, by the number of its prompt."""

    async def given_up() -> bytes:
        async with ScriptedUpstream() as upstream:
            host, port = upstream.address.split(":")
            reader, writer = await asyncio.open_connection(host, int(port))
            body = b'{"text": "river 7"}'
            path = b"/v1beta/models/bench-ticking:streamGenerateContent"
            writer.write(
                b"POST %b HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % (path, len(body)) + body
            )
            head = await reader.readuntil(b"\r\n\r\n")
            event = await reader.readuntil(b"\r\n\r\n")
            writer.close()
            await upstream.closed[7]
            return head[:15] + event.partition(b"data: ")[1]

    assert asyncio.run(given_up()) == b"HTTP/1.1 200 OKdata: "


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


def test_capacity_tells_what_one_process_carries(capsys: pytest.CaptureFixture[str]) -> None:
    """A rate that is no load at all is carried with and without the limit."""
    assert 0 == capacity.main(["--rates", "5", "--seconds", "1"])
    rows = [line.split("|") for line in capsys.readouterr().out.splitlines() if "| 5 |" in line]
    assert [(" by the loop's delay ", " 0 "), (" none ", " 0 ")] == [
        (row[2], row[7]) for row in rows
    ]
