"""The examples and the README run as they stand."""

from __future__ import annotations

import ast
import asyncio
import functools
import re
import runpy
import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import gemini_backend_client
from gemini.backend.v1.content_pb2 import Content, FunctionCall, Part
from gemini.backend.v1.execute_service_pb2 import ProcessResponse
from gemini_backend_client import errors

if TYPE_CHECKING:
    from clients.python.tests.fake_backend import FakeBackend

_CLIENT = Path(__file__).parents[1]
_README = (_CLIENT / "README.md").read_text("utf-8")
_BLOCKS = re.findall(r"```python\n(.*?)```", _README, re.DOTALL)


@pytest.fixture(autouse=True)
def _default_target(backend: FakeBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let clients without a target reach the fake server."""
    for name in ("Client", "AsyncClient"):
        kind = getattr(gemini_backend_client, name)
        monkeypatch.setattr(gemini_backend_client, name, functools.partial(kind, backend.target))


def _run(name: str, monkeypatch: pytest.MonkeyPatch, *words: str) -> None:
    monkeypatch.setattr(sys, "argv", [name, *words])
    example = runpy.run_path(str(_CLIENT / "examples" / name))
    ended = example["main"]()
    if asyncio.iscoroutine(ended):
        asyncio.run(ended)
    else:
        assert not ended


def _answer(*parts: Part) -> ProcessResponse:
    answer = ProcessResponse()
    answer.candidates.add(content=Content(role="model", parts=parts))
    return answer


def test_stream(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Prints the answer, then what it used."""
    _run("stream.py", monkeypatch, "hi")
    assert "Hello\n\n5 tokens, finished for STOP\n" == capsys.readouterr().out


def test_many_at_once(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Prints an answer a question."""
    _run("many_at_once.py", monkeypatch)
    assert 6 == capsys.readouterr().out.count(": Hello\n")


def test_functions(
    backend: FakeBackend, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The model's turn goes back as it came, signature and all, with the results after it."""
    call = FunctionCall(id="c1", name="level_of", args={"river": "Danube"})
    asked = Part(function_call=call, thought_signature=b"signature")
    backend.script(_answer(asked))
    backend.script(_answer(Part(text="The Danube.")))
    _run("functions.py", monkeypatch)
    assert "The Danube.\n" == capsys.readouterr().out
    _, model, results = backend.requests[1].contents
    assert [asked] == list(model.parts)
    response = results.parts[0].function_response
    assert ("c1", '{"output": 412}') == (response.id, response.response_json)


def test_images(
    backend: FakeBackend,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    """Pictures go along, and the answer is read as JSON."""
    picture = tmp_path / "a.png"
    picture.write_bytes(b"png")
    backend.script(_answer(Part(text='[{"subject": "a river", "colours": ["blue", "green"]}]')))
    _run("images.py", monkeypatch, str(picture))
    assert "a river: blue, green\n" == capsys.readouterr().out


def test_readme_first_blocks_run(capsys: pytest.CaptureFixture[str]) -> None:
    """What a newcomer copies first works, blocking and under asyncio."""
    exec(_BLOCKS[0], {})
    scope: dict[str, object] = {}
    body = textwrap.indent(_BLOCKS[1], "    ")
    exec(f"async def main():\n{body}", scope)
    main = scope["main"]
    assert callable(main)
    asyncio.run(main())
    assert "HelloHelloHello 5\n" == capsys.readouterr().out


@pytest.mark.parametrize("block", _BLOCKS)
def test_readme_blocks_are_python(block: str) -> None:
    """Every Python block of the README can be parsed."""
    compile(block, "README.md", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    assert [] != ast.parse(block).body


def test_readme_draws_the_errors_as_they_are() -> None:
    """The README's drawing is the module's."""
    branches = re.compile(r"^ *([│├└].*)$", re.MULTILINE)
    drawn = branches.findall(errors.__doc__ or "")
    assert drawn == branches.findall(_README)
    assert len(drawn) > 10


def test_public_names_are_sorted_and_there() -> None:
    """`__all__` holds constants, classes, functions, each sorted, and nothing that is not there."""
    names = gemini_backend_client.__all__
    assert sorted(names, key=_rank) == list(names)
    assert all(hasattr(gemini_backend_client, name) for name in names)


def _rank(name: str) -> tuple[int, str]:
    kind = 0 if name.isupper() else 1 if name[0].isupper() else 2
    return kind, name
