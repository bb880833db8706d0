"""A running simulator and short ways to talk to it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import msgspec
import pytest

from gemini_backend.upstream.simulator import Simulator, SimulatorOptions

Json = dict[str, Any]
MODEL = "gemini-3.5-flash"


@dataclass
class Answer:
    """What came back."""

    status: int
    headers: Any
    body: bytes

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return msgspec.json.decode(self.body)

    @property
    def events(self) -> list[Json]:
        """The body as server-sent events."""
        lines = self.body.replace(b"\r\n", b"\n").split(b"\n\n")
        return [msgspec.json.decode(line[6:]) for line in lines if line.startswith(b"data: ")]

    @property
    def text(self) -> str:
        """The text of the answer, without thoughts."""
        payloads = self.events or [self.json]
        return "".join(
            part.get("text", "")
            for payload in payloads
            for part in payload["candidates"][0]["content"].get("parts", ())
            if not part.get("thought")
        )


@dataclass
class Clock:
    """A clock that only moves when told to, and a pause that moves it."""

    now: float = 1_700_000_000.0
    pauses: list[float] = field(default_factory=list)

    def __call__(self) -> float:
        """The time."""
        return self.now

    async def pause(self, seconds: float) -> None:
        """Passes the time at once."""
        self.pauses.append(seconds)
        self.now += seconds


class Talker:
    """Talks to one simulator."""

    def __init__(self, simulator: Simulator, session: aiohttp.ClientSession) -> None:
        self.simulator = simulator
        self.session = session

    async def send(
        self, verb: str, path: str, body: Any = None, headers: dict[str, str] | None = None
    ) -> Answer:
        """Sends one request; ``body`` is bytes, or goes out as JSON."""
        data = body if isinstance(body, bytes) or body is None else msgspec.json.encode(body)
        given = {"x-goog-api-key": "test-key"} if headers is None else headers
        url = self.simulator.url + path
        async with self.session.request(verb, url, data=data, headers=given) as response:
            return Answer(response.status, response.headers, await response.read())

    async def call(
        self, method: str, body: Json | str, model: str = MODEL, version: str = "v1beta"
    ) -> Answer:
        """Calls a method of a model; a string stands for a prompt, streams are SSE."""
        query = "?alt=sse" if method == "streamGenerateContent" else ""
        request = prompt(body) if isinstance(body, str) else body
        return await self.send("POST", f"/{version}/models/{model}:{method}{query}", request)

    async def generate(self, body: Json | str, model: str = MODEL) -> Answer:
        """The whole answer."""
        return await self.call("generateContent", body, model)

    async def stream(self, body: Json | str, model: str = MODEL) -> Answer:
        """The answer as a stream."""
        return await self.call("streamGenerateContent", body, model)


def prompt(text: str, **config: Any) -> Json:
    """A request with one text and a generation configuration."""
    request: Json = {"contents": [{"role": "user", "parts": [{"text": text}]}]}
    return {**request, "generationConfig": config} if config else request


@pytest.fixture
def clock() -> Clock:
    """Time under control."""
    return Clock()


@pytest.fixture
async def start(clock: Clock) -> AsyncIterator[Callable[..., Awaitable[Talker]]]:
    """Starts simulators with any options, and stops them in the end."""
    running: list[Simulator] = []
    # Google's own clients keep connections open; one for each request would hide leaks.
    session = aiohttp.ClientSession()

    async def begin(**options: Any) -> Talker:
        simulator = Simulator(SimulatorOptions(pause=clock.pause, now=clock, **options))
        await simulator.start()
        running.append(simulator)
        return Talker(simulator, session)

    yield begin
    await session.close()
    for simulator in running:
        await simulator.aclose()


@pytest.fixture
async def gemini(start: Callable[..., Awaitable[Talker]]) -> Talker:
    """A simulator as it is by default."""
    return await start()


@pytest.fixture
def ask() -> Callable[..., Json]:
    """Builds a request with one text and a generation configuration."""
    return prompt
