"""Sessions by the Python client and by the command, against the real server."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

from gemini_backend_client import (
    AsyncClient,
    Client,
    ConflictError,
    InvalidRequestError,
    NotFoundError,
    QuotaExhaustedError,
    model_turn,
    user_turn,
)
from tests.support.servers.process import Process, run_backend, serving

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server() -> AsyncIterator[Process]:
    """A server whose sessions hold three turns."""
    settings = {
        "GEMINI_BACKEND_SESSIONS__STORE": "memory",
        "GEMINI_BACKEND_SESSIONS__MAX_TURNS": "3",
    }
    async with serving(settings) as process:
        yield process


async def test_a_conversation(server: Process) -> None:
    """The blocking client makes, uses, lists and deletes a session."""
    with Client(server.grpc) as client:
        made = client.sessions.create(
            "blocking",
            history=[user_turn("q"), model_turn("a")],
            system_instruction="be brief",
            labels={"who": "blocking"},
            overflow="SESSION_OVERFLOW_REFUSE",
        )
        talk = client.session("blocking")
        assert made.name == talk.name
        streamed = talk.execute("My name is Ann").text()
        answer = talk.process("And yours?")
        assert "My name is Ann" in answer.text
        turns = list(client.sessions.turns(made.name))
        assert ["a", streamed, answer.text] == [
            "".join(part.text for part in turn.output.parts) for turn in turns
        ]
        assert [made.name] == [one.name for one in client.sessions.list(labels={"who": "blocking"})]
        with pytest.raises(QuotaExhaustedError):
            talk.process("one too many")
        with pytest.raises(ConflictError):
            client.sessions.create("blocking")
        with pytest.raises(ConflictError):
            client.sessions.delete(made.name, etag=made.etag)
        client.sessions.delete("blocking", etag=client.sessions.get("blocking").etag)
        with pytest.raises(NotFoundError):
            talk.process("x")
        with pytest.raises(NotFoundError):
            client.sessions.delete("blocking")
        client.sessions.delete("blocking", allow_missing=True)


async def test_a_conversation_under_asyncio(server: Process) -> None:
    """The async client does the same with the same names."""
    async with AsyncClient(server.grpc) as client:
        made = await client.sessions.create("async", request_id="r")
        assert made == await client.sessions.create("async", request_id="r")
        talk = client.session(made.name)
        pieces = [piece async for piece in talk.execute("My name is Bob")]
        assert "My name is Bob" in (await talk.process("And yours?")).text
        turns = [turn async for turn in client.sessions.turns("async")]
        assert ["".join(pieces)] == [
            "".join(part.text for part in turn.output.parts) for turn in turns[:1]
        ]
        assert made.name in [one.name async for one in client.sessions.list()]
        assert 2 == (await client.sessions.get("async")).turn_count
        with pytest.raises(InvalidRequestError):
            await client.sessions.create("no spaces")
        await client.sessions.delete("async")


async def test_the_command_keeps_a_conversation(server: Process) -> None:
    """`call --session` begins a conversation, then goes on with it."""
    command = ("--target", server.grpc, "--session", "shell")
    first = await run_backend("call", "My name is Ann", *command)
    second = await run_backend("call", "And yours?", *command)
    assert (0, 0) == (first.code, second.code)
    assert re.search("My name is Ann", second.stdout)
    wrong = await run_backend("call", "x", "--target", server.grpc, "--session", "a b")
    assert (1, True) == (wrong.code, "CALLER_INVALID_REQUEST" in wrong.stderr)
