"""Short ways to talk to a simulator, and a clock under control."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

if TYPE_CHECKING:
    import aiohttp

    from gemini_backend.upstream.simulator import Simulator


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
        """Keep what to talk to, and through what."""
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


class Start(Protocol):
    """Starts a simulator with the options given."""

    async def __call__(self, **options: Any) -> Talker:
        """Return a way to talk to it."""
        ...


class Build(Protocol):
    """Builds a request with one text and a generation configuration."""

    def __call__(self, text: str, **config: Any) -> Json:
        """Return the request."""
        ...
