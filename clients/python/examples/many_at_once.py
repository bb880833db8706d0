"""Ask many questions at once under asyncio, at most four at a time.

Run: python many_at_once.py
"""

from __future__ import annotations

import asyncio

from gemini_backend_client import AsyncClient, GeminiBackendError

_RIVERS = ("Danube", "Nile", "Mekong", "Amazon", "Volga", "Rhine")
_AT_ONCE = 4


async def _ask(client: AsyncClient, gate: asyncio.Semaphore, river: str) -> str:
    async with gate:
        try:
            answer = await client.process(f"Where does the {river} rise? One sentence.", timeout=60)
        except GeminiBackendError as error:
            return f"{river}: {error}"
    return f"{river}: {answer.text.strip()}"


async def main() -> None:
    """Print the answers in the order in which they come."""
    gate = asyncio.Semaphore(_AT_ONCE)
    async with AsyncClient() as client:
        for done in asyncio.as_completed([_ask(client, gate, river) for river in _RIVERS]):
            print(await done)


if __name__ == "__main__":
    asyncio.run(main())
