"""A process that is killed while it makes keys."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

from gemini_backend.identity.api_keys.secret import id_in
from tests.support.identity.key_desk import KeyDesk

_MAKES_KEYS = """
import asyncio, sys
from pathlib import Path
from tests.support.identity.key_desk import KeyDesk

async def work():
    desk = KeyDesk(Path(sys.argv[1]))
    while True:
        print((await desk.create())[1], flush=True)

asyncio.run(work())
"""


def secrets_until_killed(folder: Path) -> list[str]:
    """Return the secrets that a process has handed out before it was killed."""
    command = [sys.executable, "-c", _MAKES_KEYS, str(folder)]
    root = Path(__file__).parents[3]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=root) as process:
        assert process.stdout is not None
        found = [process.stdout.readline().strip() for _ in range(20)]
        process.send_signal(signal.SIGKILL)
        found += [line.strip() for line in process.stdout.readlines() if line.endswith("\n")]
    return found


async def test_a_secret_that_was_handed_out_is_kept(tmp_path: Path) -> None:
    """Whatever was printed before the end is accepted after it, and the store is whole."""
    found = secrets_until_killed(tmp_path)
    desk = KeyDesk(tmp_path)
    await desk.keys.refresh()
    assert [] == [id_in(one) for one in found if desk.keys.known(one) is None]
    assert len(found) >= 20
    await desk.create("afterwards")
    await desk.aclose()
