"""The commands, as a shell sees them."""

from __future__ import annotations

import argparse
import io
import json
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import grpc
import pytest
from google.rpc.error_details_pb2 import ErrorInfo

from clients.python.tests.fake_backend import PATIENCE, STARTED, Failure, Pause, piece, whole
from gemini.backend.v1.content_pb2 import Cost, Usage
from gemini.backend.v1.execute_service_pb2 import Warning as WarningMessage
from gemini_backend_client.commands import call, models

if TYPE_CHECKING:
    from pathlib import Path
    from types import ModuleType

    from clients.python.tests.fake_backend import FakeBackend

_PROGRAM = """
import argparse, signal, sys
from gemini_backend_client.commands import call
signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored if the tests run in background
parser = argparse.ArgumentParser()
call.add_arguments(parser)
sys.exit(call.run(parser.parse_args()))
"""


def _run(module: ModuleType, *words: str) -> int:
    parser = argparse.ArgumentParser()
    module.add_arguments(parser)
    code = module.run(parser.parse_args(words))
    assert isinstance(code, int)
    return code


def _start(*words: str) -> subprocess.Popen[str]:
    paths = os.pathsep.join(path for path in sys.path if path)
    return subprocess.Popen(
        [sys.executable, "-c", _PROGRAM, *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": paths},
    )


def test_call_prints_answer_and_usage(
    backend: FakeBackend, capsys: pytest.CaptureFixture[str]
) -> None:
    """The answer and a newline on stdout; model, tokens, times and cost on stderr."""
    usage = Usage(prompt_token_count=3, candidates_token_count=2, thoughts_token_count=1)
    end = whole(usage=usage, cost=Cost(cost_nano_usd=1_500_000))
    backend.script(STARTED, piece("hmm", thought=True), piece("Hel"), piece("lo"), end)
    words = ["hi", "--model", "m", "--system", "be brief", "--temperature", "0.5"]
    code = _run(call, *words, "--max-output-tokens", "9", "--target", backend.target)
    out, err = capsys.readouterr()
    assert (0, "Hello\n") == (code, out)
    assert "served | tokens: 3 prompt, 2 answer, 1 thoughts | first token 0." in err
    assert err.endswith("| $0.001500\n")
    (request,) = backend.requests
    assert ("hi", "m") == (request.prompt, request.model)
    assert "be brief" == request.system_instruction.parts[0].text
    assert (0.5, 9) == (
        request.generation_config.temperature,
        request.generation_config.max_output_tokens,
    )


def test_call_tells_warnings_and_what_was_saved(
    backend: FakeBackend, capsys: pytest.CaptureFixture[str]
) -> None:
    """What the server warns of comes first, on stderr; what a kept answer saved comes last."""
    begin = type(STARTED)()
    begin.CopyFrom(STARTED)
    begin.started.warnings.add(code="MODEL_DEPRECATED", message="m ends soon; n replaces it")
    backend.script(begin, piece("Hello"), whole(cost=Cost(saved_nano_usd=2_000_000)))
    code = _run(call, "hi", "--target", backend.target)
    out, err = capsys.readouterr()
    assert (0, "Hello\n") == (code, out)
    assert err.startswith("warning: m ends soon; n replaces it [MODEL_DEPRECATED]\n")
    assert err.endswith("| $0.000000 | saved $0.002000\n")


def test_call_prints_a_long_answer_whole(
    backend: FakeBackend, capsys: pytest.CaptureFixture[str]
) -> None:
    """The text of all hops goes to stdout; how many there were, and warnings, to stderr."""
    warning = WarningMessage(code="CODE", message="another version went on")
    backend.script(STARTED, piece("Hel"), piece("lo"), whole(continuations=2, warnings=[warning]))
    assert 0 == _run(call, "hi", "--target", backend.target)
    out, err = capsys.readouterr()
    assert "Hello\n" == out
    assert "warning: another version went on [CODE]\n" in err
    assert "| 2 continuations\n" in err


def test_call_says_why_the_model_stopped(
    backend: FakeBackend, capsys: pytest.CaptureFixture[str]
) -> None:
    """An answer that was cut off is not passed off as a whole one."""
    backend.script(STARTED, piece("Hel"), whole(finish_reason="FINISH_REASON_MAX_TOKENS"))
    assert 0 == _run(call, "hi", "--target", backend.target)
    assert "stopped: MAX_TOKENS" in capsys.readouterr().err


def test_call_with_thoughts(backend: FakeBackend, capsys: pytest.CaptureFixture[str]) -> None:
    """Thoughts are asked for and go to stderr."""
    backend.script(STARTED, piece("hmm", thought=True), piece("yes"), whole())
    assert 0 == _run(call, "hi", "--thoughts", "--target", backend.target)
    out, err = capsys.readouterr()
    assert "yes\n" == out
    assert err.startswith("hmm")
    assert backend.requests[0].generation_config.thinking_config.include_thoughts


def test_call_as_json(backend: FakeBackend, capsys: pytest.CaptureFixture[str]) -> None:
    """With --json each event is a line of JSON, by the names of the contract."""
    assert 0 == _run(call, "hi", "--json", "--target", backend.target)
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert ["started", "delta", "delta", "completed"] == [list(event)[-1] for event in events]
    assert "models/served" == events[0]["started"]["served_model"]


def test_call_reads_stdin_and_files(
    backend: FakeBackend, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """`-` is stdin; files go before the prompt."""
    picture = tmp_path / "a.png"
    picture.write_bytes(b"png")
    monkeypatch.setattr("sys.stdin", io.StringIO("what is it?"))
    assert 0 == _run(call, "-", "--file", str(picture), "--target", backend.target)
    first, second = backend.requests[0].contents[0].parts
    assert "image/png" == first.inline_data.mime_type
    assert "what is it?" == second.text


@pytest.mark.parametrize(
    ("words", "fix"),
    [
        (["  "], "the prompt is empty"),
        (["hi", "--file", "/nowhere.png"], "cannot read /nowhere.png"),
        (["hi", "--file", "/dev/null"], "known extension"),
        (["hi", "--tls-cert", "/nowhere.pem"], "cannot read /nowhere.pem"),
        (["hi", "--tls-ca", "/dev/null", "--tls-cert", "/dev/null"], "needs both"),
        (["hi", "--timeout", "0"], "seconds above 0"),
        (["\udcff"], "not UTF-8"),
    ],
)
def test_wrong_use_is_2(words: list[str], fix: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Wrong use ends with 2 and one sentence that names the fix."""
    assert 2 == _run(call, *words)
    err = capsys.readouterr().err
    assert fix in err
    assert 1 == err.count("\n")


def test_an_argument_that_is_not_utf_8_is_wrong_use(capsys: pytest.CaptureFixture[str]) -> None:
    """Whichever it is, in a sentence and without a traceback."""
    assert 2 == _run(models, "validate", "\udcff")
    assert "an argument is not valid UTF-8" in capsys.readouterr().err


def test_failure_is_1(backend: FakeBackend, capsys: pytest.CaptureFixture[str]) -> None:
    """A failed call ends with 1; what had arrived stays, on a line of its own."""
    info = ErrorInfo(domain="gemini.backend", reason="UPSTREAM_STREAM_CUT")
    backend.script(STARTED, piece("Hel"), Failure(grpc.StatusCode.UNAVAILABLE, "cut", (info,)))
    assert 1 == _run(call, "hi", "--target", backend.target)
    assert ("Hel\n", "gemini-backend call: cut [UPSTREAM_STREAM_CUT]\n") == capsys.readouterr()


def test_no_server_is_1(capsys: pytest.CaptureFixture[str]) -> None:
    """Nobody there: the sentence says what to start."""
    assert 1 == _run(call, "hi", "--target", "127.0.0.1:1")
    assert "check that `gemini-backend serve` runs there" in capsys.readouterr().err


def test_ctrl_c_cancels(backend: FakeBackend) -> None:
    """SIGINT ends the command with 130, without a traceback, and the execution at the server."""
    backend.script(STARTED, piece("one"), Pause(), whole())
    process = _start("hi", "--target", backend.target)
    assert process.stdout is not None
    assert "one" == process.stdout.read(3)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=PATIENCE)
    assert (130, "") == (process.returncode, err)
    assert backend.left.wait(PATIENCE)


def test_a_closed_pipe_is_quiet(backend: FakeBackend) -> None:
    """When nobody reads the answer any more, the command ends with 1, in silence."""
    pause = Pause()
    backend.script(STARTED, piece("one"), pause, *[piece("x" * 65536)] * 8, Pause(), whole())
    process = _start("hi", "--target", backend.target)
    assert process.stdout is not None
    assert "one" == process.stdout.read(3)
    process.stdout.close()
    pause.over.set()
    assert process.stderr is not None
    with process.stderr:
        assert not process.stderr.read()
    assert 1 == process.wait(PATIENCE)


def test_models_prints_a_table(backend: FakeBackend, capsys: pytest.CaptureFixture[str]) -> None:
    """One line a model under a heading; --all asks for the deprecated and gone as well."""
    assert 0 == _run(models, "--all", "--target", backend.target)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("MODEL  STATE  AVAILABLE  TOKENS IN")
    assert ["a", "b", "c"] == [line.split()[0] for line in lines[1:]]
    assert backend.requests[0].include_gone


def test_models_as_json(backend: FakeBackend, capsys: pytest.CaptureFixture[str]) -> None:
    """With --json each model is a line of JSON."""
    assert 0 == _run(models, "--json", "--target", backend.target)
    names = [json.loads(line)["name"] for line in capsys.readouterr().out.splitlines()]
    assert ["models/a", "models/b", "models/c"] == names
