"""The command, as a process.

Covers: upstream/simulator/options.py
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

import aiohttp
import pytest

import gemini_backend

PROGRAM = (
    "import argparse, sys\n"
    "from gemini_backend.upstream.simulator import command\n"
    "parser = argparse.ArgumentParser()\n"
    "command.add_arguments(parser)\n"
    "sys.exit(command.run(parser.parse_args()))\n"
)


async def _start(*arguments: str) -> asyncio.subprocess.Process:
    path = str(Path(gemini_backend.__file__).parents[1])
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        PROGRAM,
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": path},
    )


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_it_serves_until_it_is_told_to_stop(tmp_path: Path, number: signal.Signals) -> None:
    """The ready line names the real port; a signal ends it with exit code 0, streams or not."""
    script = tmp_path / "script.toml"
    script.write_text('[[rules]]\nmatch = { prompt = "wait" }\nfault = { fault = "stall" }\n')
    process = await _start("--listen", "127.0.0.1:0", "--script", str(script))
    assert process.stdout
    assert process.stderr
    line = (await process.stdout.readline()).decode()
    assert line.startswith("ready http=127.0.0.1:")
    url = f"http://{line.split('=')[1].strip()}/v1beta/models/gemini-3.5-flash"
    body = {"contents": [{"parts": [{"text": "[[length: 99]] wait"}]}]}
    headers = {"x-goog-api-key": "k"}
    async with aiohttp.ClientSession() as session:
        stream = url + ":streamGenerateContent?alt=sse"
        async with session.post(stream, json=body, headers=headers) as response:
            await response.content.readany()
            process.send_signal(number)
            assert 0 == await asyncio.wait_for(process.wait(), 5)
    assert b"" == await process.stderr.read()


async def test_models_of_a_file_are_played(tmp_path: Path) -> None:
    """They are listed beside those of the catalogue."""
    file = tmp_path / "more.toml"
    file.write_text(
        '[[models]]\nname = "xenon"\ncapabilities = ["generate_content"]\n'
        'output_modalities = ["text"]\n'
    )
    process = await _start("--listen", "127.0.0.1:0", "--models", str(file))
    assert process.stdout
    url = (await process.stdout.readline()).decode().split("=")[1].strip()
    async with (
        aiohttp.ClientSession(headers={"x-goog-api-key": "k"}) as session,
        session.get(f"http://{url}/v1beta/models?pageSize=1000") as response,
    ):
        names = [one["name"] for one in (await response.json())["models"]]
    process.terminate()
    await process.wait()
    assert {"models/xenon", "models/gemini-4-neon"} <= set(names)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--script", "/nowhere/x.toml"], 2, "cannot read the script /nowhere/x.toml"),
        (["--listen", "8081"], 2, "write it as 127.0.0.1:8081"),
        (["--listen", "127.0.0.1:99999"], 2, "write it as 127.0.0.1:8081"),
        (["--listen", "192.0.2.1:1"], 1, "choose another --listen"),
        (["--chunk-delay", "-1"], 2, "--chunk-delay is -1.0 and must be a number of at least 0"),
        (["--hop-tokens", "-1"], 2, "--hop-tokens is -1 and must be a whole number of at least 0"),
        (["--models", "/nowhere/x.toml"], 2, "--models /nowhere/x.toml:"),
    ],
)
async def test_wrong_use_is_one_sentence(arguments: list[str], code: int, message: str) -> None:
    """Errors name the fix in one line; exit codes are 2 for wrong use, 1 for what failed."""
    process = await _start(*arguments)
    _, errors = await asyncio.wait_for(process.communicate(), 5)
    assert code == process.returncode
    assert message in errors.decode()
    assert 1 == len(errors.decode().splitlines())
