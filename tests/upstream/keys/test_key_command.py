"""Keys that a program prints. Real programs: what is tested is how they are run."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from gemini_backend.clock import SystemClock
from gemini_backend.upstream.keys import key_command
from gemini_backend.upstream.keys.key_command import KeyCommand
from gemini_backend.upstream.keys.known_key import KeyProblem

if TYPE_CHECKING:
    from tests.support.clock import FakeClock


def python(code: str) -> KeyCommand:
    """Return a command that runs a line of Python."""
    return KeyCommand((sys.executable, "-c", code), SystemClock())


async def problem(command: KeyCommand) -> str:
    """Return what is wrong with a command."""
    with pytest.raises(KeyProblem) as raised:
        await command.keys()
    return str(raised.value)


async def test_what_it_prints_are_keys() -> None:
    """As in a file."""
    found = await python("print('# vault\\nkey-1\\nteam-a key-2')").keys()
    assert [("", "key-1"), ("team-a", "key-2")] == [
        (one.project, one.text.reveal()) for one in found
    ]


async def test_no_shell_is_used(tmp_path: Path) -> None:
    """Arguments reach the program as they are."""
    command = KeyCommand(("/bin/echo", f"k;touch${{IFS}}{tmp_path}/x"), SystemClock())
    assert [f"k;touch${{IFS}}{tmp_path}/x"] == [one.text.reveal() for one in await command.keys()]
    assert not (tmp_path / "x").exists()


async def test_a_failure_tells_nothing_of_the_output() -> None:
    """Neither of what it prints, nor of its errors."""
    code = "import sys; print('key-s3cret'); print('s3cret', file=sys.stderr); sys.exit(3)"
    said = await problem(python(code))
    assert "upstream.gemini.api_keys_command ended with code 3; run it by hand to see why" == said
    assert "s3cret" not in await problem(python("print('key s3cret\\x00')"))
    assert "is empty" in await problem(python("pass"))


async def test_a_program_that_is_not_there() -> None:
    """Names the fix."""
    missing = KeyCommand(("/no/such/program",), SystemClock())
    assert "give the path of a program" in await problem(missing)


async def test_it_reads_nothing() -> None:
    """A program that asks for something gets an end of file."""
    assert 1 == len(await python("import sys; print('key-' + repr(sys.stdin.read()))").keys())


async def test_too_much_is_refused() -> None:
    """And the program is ended."""
    endless = "while True: print('k' * 4096)"
    assert "prints more than" in await problem(python(endless))


async def test_it_has_an_end(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """After its time it is ended, together with what it has started."""
    monkeypatch.setattr(key_command, "TIMEOUT_SECONDS", 1.0)
    file = tmp_path / "pid"
    code = (
        "import subprocess, time; "
        f"p = subprocess.Popen(['sleep', '60']); open({str(file)!r}, 'w').write(str(p.pid)); "
        "time.sleep(60)"
    )
    assert "did not end within 1 s" in await problem(python(code))
    assert await gone(int(file.read_text()))


async def test_cancelling_ends_it(tmp_path: Path, clock: FakeClock) -> None:
    """Such as when the server stops."""
    file = tmp_path / "pid"
    code = f"import os, time; open({str(file)!r}, 'w').write(str(os.getpid())); time.sleep(60)"
    task = asyncio.create_task(KeyCommand((sys.executable, "-c", code), clock).keys())
    while not file.exists() or not file.read_text():
        await asyncio.sleep(0.01)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert await gone(int(file.read_text()))


async def gone(pid: int) -> bool:
    """Say whether a process has ended, or does within a second."""
    for _ in range(100):
        try:
            zombie = ") Z " in state_of(pid)
        except (FileNotFoundError, ProcessLookupError):
            return True
        if zombie:
            return True
        await asyncio.sleep(0.01)
    return False


def state_of(pid: int) -> str:
    """Return what the system says of a process."""
    return Path(f"/proc/{pid}/stat").read_text(encoding="ascii")
