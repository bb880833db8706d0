"""A server that asks who calls, with keys of two tenants."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import grpc
from google.rpc.error_details_pb2 import ErrorInfo
from grpc_status.rpc_status import from_call

from tests.support.servers.process import run_backend, serving

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Mapping
    from pathlib import Path

    from tests.support.servers.process import Process

Metadata = tuple[tuple[str, str], ...]
NO_KEY: Metadata = ()


def bearer(secret: str) -> Metadata:
    """Return the metadata of a call with a key or a token."""
    return (("authorization", f"Bearer {secret}"),)


@dataclass(frozen=True)
class Guarded:
    """A running server, a channel to it, and secrets by their owners, as `TENANT/NAME`."""

    server: Process
    channel: grpc.aio.Channel
    state: Path
    secrets: dict[str, str]

    def key(self, who: str) -> Metadata:
        """Return the metadata of a call of somebody's."""
        return bearer(self.secrets[who])


def state_of(folder: Path) -> dict[str, str]:
    """Return the environment by which server and commands keep their state in a folder."""
    return {"GEMINI_BACKEND_STATE__DIR": str(folder)}


async def key_made(folder: Path, who: str, *roles: str, more: tuple[str, ...] = ()) -> str:
    """Make a key by the command; return its secret."""
    tenant, name = who.split("/")
    asked = [word for role in roles for word in ("--role", role)]
    arguments = ("keys", "create", "--tenant", tenant, "--name", name, *asked, *more)
    made = await run_backend(*arguments, env=state_of(folder))
    assert made.code == 0, made
    return made.stdout.strip()


@asynccontextmanager
async def guarded(
    folder: Path, keys: Mapping[str, tuple[str, ...]], **settings: str
) -> AsyncIterator[Guarded]:
    """Run a server with `auth.methods = ["api_key"]`.

    Args:
        folder: Where its state is.
        keys: Roles by `TENANT/NAME`.
        settings: More of them, by `SECTION__FIELD`.
    """
    secrets = {who: await key_made(folder, who, *roles) for who, roles in keys.items()}
    env = {
        **state_of(folder),
        "GEMINI_BACKEND_AUTH__METHODS": "api_key",
        "GEMINI_BACKEND_AUTH__FAILURE_DELAY_SECONDS": "0",
        **{f"GEMINI_BACKEND_{name}": value for name, value in settings.items()},
    }
    async with serving(env) as server, grpc.aio.insecure_channel(server.grpc) as channel:
        yield Guarded(server, channel, folder, secrets)


class Ended(NamedTuple):
    """How a call ended: OK and nothing more for a success."""

    code: str
    reason: str
    said: str


async def ended(call: Awaitable[Any]) -> Ended:
    """Return how a call ends."""
    try:
        await call
    except grpc.aio.AioRpcError as error:
        status = from_call(error)  # type: ignore[arg-type] # has what is asked of it
        info = ErrorInfo()
        if status is not None and status.details:
            status.details[0].Unpack(info)
        return Ended(error.code().name, info.reason, error.details() or "")
    return Ended("OK", "", "")


async def ended_by(call: Awaitable[Any]) -> tuple[str, str]:
    """Return the code and the reason with which a call ends."""
    code, reason, _ = await ended(call)
    return code, reason
