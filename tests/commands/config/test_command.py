"""`gemini-backend config`, beside a server in this process.

Covers: commands/config/changes.py, commands/config/check.py, commands/config/diff.py,
commands/config/here.py, commands/config/remote.py, commands/config/show.py,
commands/config/values.py
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import grpc
import protovalidate
import pytest

from gemini_backend.api.config import ConfigService
from gemini_backend.commands.config import changes, command, diff
from gemini_backend.config import ConfigStore, RevisionFile, read
from gemini_backend.config.revisions import file_in
from gemini_backend.errors import InvalidRequest, ServiceError
from gemini_backend.telemetry.health.lifecycle import Lifecycle
from gemini_backend_client import GeminiBackendError
from gemini_backend_client.commands.command_line import UsageError
from gemini_backend_client.errors import ErrorDetails
from tests.support.messages.calls import CALL

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Run = Callable[..., tuple[int, str, str]]

KEY = "AIza-not-a-real-key"


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keep state in a folder of the test."""
    monkeypatch.setenv("GEMINI_BACKEND_STATE__DIR", str(tmp_path / "state"))
    monkeypatch.setenv("GEMINI_API_KEY", KEY)
    return tmp_path / "state"


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Return what runs the command: its exit code, and what it printed."""

    def run(*words: str) -> tuple[int, str, str]:
        parser = argparse.ArgumentParser()
        command.add_arguments(parser)
        code = command.run(parser.parse_args(words))
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


@pytest.fixture
def store(state: Path, monkeypatch: pytest.MonkeyPatch) -> ConfigStore:
    """Return the configuration of a server that the command asks."""
    store = ConfigStore(read(None, os.environ), kept=RevisionFile(file_in(str(state))), nonce="n")
    service: Any = ConfigService(store, Lifecycle())

    @contextmanager
    def asking(_args: argparse.Namespace) -> Iterator[Any]:
        def ask(method: str, request: Any) -> Any:
            assert [] == protovalidate.collect_violations(request)
            try:
                return asyncio.run(getattr(service, method)(CALL, request))
            except InvalidRequest as error:
                raise UsageError(error.message) from error
            except ServiceError as error:
                raise GeminiBackendError(
                    error.message, grpc.StatusCode.UNKNOWN, ErrorDetails(reason=error.reason)
                ) from error

        yield ask

    for module in (changes, diff):
        monkeypatch.setattr(module, "asking", asking)
    return store


def test_without_an_action_it_shows(run: Run, tmp_path: Path) -> None:
    """`config` is `config show`, and takes the same options on either side of the word."""
    file = tmp_path / "b.toml"
    file.write_text("[retry]\nmax_attempts = 4\n")
    for words in (
        ("--config", str(file), "--changed"),
        ("show", "--config", str(file), "--changed"),
        ("--config", str(file), "show", "--changed"),
        ("--changed", "show", "--config", str(file)),
    ):
        code, out, _ = run(*words)
        assert (0, True) == (code, "retry.max_attempts = 4  # file\n" in out)
        assert "logging.level" not in out
        assert KEY not in out


def test_overrides_on_disk_are_shown(run: Run, store: ConfigStore) -> None:
    """As a start would apply them, with their revision; nothing is written."""
    run("set", "retry.max_attempts=4")
    assert "retry.max_attempts = 4  # update (revision 2)\n" in run("show")[1]
    told = [json.loads(line) for line in run("show", "--json", "--changed")[1].splitlines()]
    assert {
        "path": "retry.max_attempts",
        "value": 4,
        "origin": "update",
        "detail": "revision 2",
        "live": True,
    } in told
    assert 2 == store.revision.number


def test_what_a_start_would_leave_out_is_named(
    run: Run, store: ConfigStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Overrides that are not valid any more, on standard error."""
    run("set", "execution.max_deadline_seconds=700")
    monkeypatch.setenv("GEMINI_BACKEND_EXECUTION__DEFAULT_DEADLINE_SECONDS", "800")
    code, out, err = run("show")
    assert (0, True) == (code, "is left out: execution.max_deadline_seconds" in err)
    assert "execution.max_deadline_seconds = 3600.0  # default" in out
    code, out, err = run("check")
    assert (0, "the configuration is valid\n") == (code, out)
    assert "notice: an override on disk is not valid and would be left out" in err


def test_a_check_names_every_problem(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those of file and environment in one go, a line each; the exit code is 1."""
    file = tmp_path / "b.toml"
    file.write_text("[retry]\nmax_attempts = 0\nfoo = 1\n")
    monkeypatch.setenv("GEMINI_BACKEND_LOGGING__LEVEL", "loud")
    code, out, err = run("check", "--config", str(file))
    assert (1, "", 3) == (code, out, len(err.splitlines()))
    assert ["retry.max_attempts", "retry.foo", "GEMINI_BACKEND_LOGGING__LEVEL"] == [
        line.replace(":", " ").split()[0] for line in err.splitlines()
    ]


def test_a_check_looks_at_what_a_start_needs(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, state: Path
) -> None:
    """Exposure, keys, files, revisions on disk; as JSON, a line each."""
    monkeypatch.delenv("GEMINI_API_KEY")
    file_in(str(state)).parent.mkdir(parents=True)
    file_in(str(state)).write_text("hello\n")
    file = tmp_path / "b.toml"
    file.write_text(
        '[server]\nlisten = "0.0.0.0:1"\ntls_cert_file = "/nowhere"\ntls_key_file = "/nowhere"\n'
        '[upstream]\nprovider = "gemini"\n[models]\ncatalogue_file = "/nowhere"\n'
        '[[auth.mtls.principals]]\nsubject = "CN=a,=b"\ntenant = "t"\n'
    )
    code, out, _ = run("check", "--config", str(file), "--json")
    told = [json.loads(line) for line in out.splitlines()]
    assert (1, {"problem"}) == (code, {one["kind"] for one in told})
    assert {
        "upstream.gemini.api_keys",
        "auth.mtls.principals",
        "models.catalogue_file",
        "server.tls_cert_file",
        "server.listen",
        "state.dir",
    } <= {one["path"] for one in told}


def test_a_wrong_configuration_is_not_shown(run: Run, tmp_path: Path) -> None:
    """It is wrong use, with the problem."""
    code, out, err = run("--config", str(tmp_path / "gone.toml"))
    assert (2, "", True) == (code, out, "cannot read configuration file" in err)


def test_values_are_set_and_reset(run: Run, store: ConfigStore) -> None:
    """What has changed is printed, with the revision; lists and tables as in a variable."""
    rules = '[{"fault": "latency", "latency_seconds": 2}]'
    code, out, _ = run(
        "set", "retry.max_attempts=4", "fallback.models=a,b", f"chaos.rules={rules}",
        "--comment", "why",
    )  # fmt: skip
    assert (0, "revision 2") == (code, out.splitlines()[-1])
    assert 'fallback.models = ["a","b"]' in out
    assert (4, ("a", "b"), 2.0) == (
        store.current.retry.max_attempts,
        store.current.fallback.models,
        store.current.chaos.rules[0].latency_seconds,
    )
    told = json.loads(run("set", "--reset", "fallback", "--reset", "chaos.rules", "--json")[1])
    assert {
        "revision": 3,
        "etag": "n-3",
        "changed": {"fallback.models": [], "chaos.rules": []},
    } == told
    assert "nothing has changed" in run("set", "retry.max_attempts=4")[1]


def test_a_change_can_be_tried(run: Run, store: ConfigStore) -> None:
    """It is validated, and not made."""
    code, out, _ = run("set", "retry.max_attempts=4", "--validate-only")
    assert (0, 1) == (code, store.revision.number)
    assert "the change is valid and was not made\nretry.max_attempts = 4\n" in out


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("server.max_message_mb=8",), 1, "server.max_message_mb is read only at the start"),
        ((f"upstream.gemini.api_keys={KEY}",), 2, "is a secret and cannot be set"),
        (("retry.max_attempt=4",), 2, "did you mean retry.max_attempts?"),
        (("retry.max_attempts",), 2, "has no value; write PATH=VALUE"),
        (("retry.max_attempts=many",), 2, "must be a whole number"),
        (("execution.default_deadline_seconds=3599", "execution.max_deadline_seconds=9"), 2, "lie"),
        (("--reset", "retry.max_attempt"), 2, "did you mean"),
        (("retry.max_attempts=4", "--etag", "n-9"), 1, "read it again"),
        ((), 2, "name what to change"),
    ],
)
def test_what_is_wrong_is_refused_whole(
    run: Run, store: ConfigStore, words: tuple[str, ...], code: int, said: str
) -> None:
    """The message names the setting and the fix, never a secret; nothing has changed."""
    assert (code, "") == run("set", *words)[:2]
    _, _, err = run("set", *words)
    assert said in err
    assert KEY not in err
    assert 1 == store.revision.number


def test_the_history_is_listed_and_rolled_back(run: Run, store: ConfigStore) -> None:
    """Latest first, with who, what and why; an earlier revision comes back as a new one."""
    run("set", "retry.max_attempts=4", "--comment", "a\nb\x1b[2J")
    code, out, _ = run("rollback", "1", "--comment", "no")
    assert (0, "retry.max_attempts = 6\nrevision 3\n") == (code, out)
    lines = run("history")[1].splitlines()
    assert ["3", "2", "1"] == [line.split()[0] for line in lines[1:]]
    assert "default/anonymous  retry.max_attempts  rollback of 1; no" in lines[1]
    assert r"a\nb\x1b[2J" in lines[2]
    told = [json.loads(line) for line in run("history", "--limit", "2", "--json")[1].splitlines()]
    assert [(3, 1, "no"), (2, 0, "a\nb\x1b[2J")] == [
        (one["revision"], one["rollback_of"], one["comment"]) for one in told
    ]
    assert (1, "", True) == (*run("rollback", "9")[:2], "use one from" in run("rollback", "9")[2])
    assert 2 == run("history", "--limit", "0")[0]


def test_a_difference_says_who_decides(run: Run, store: ConfigStore, tmp_path: Path) -> None:
    """Between the server and what file and environment say here, with both sources."""
    assert "no difference\n" == run("diff")[1]
    run("set", "retry.max_attempts=4")
    file = tmp_path / "b.toml"
    file.write_text("[retry]\nmax_attempts = 3\n[server]\nmax_message_mb = 8\n")
    server, here = "server.max_message_mb: 64 on the server (default)", f"here (file, {file})"
    assert [
        f"retry.max_attempts: 4 on the server (update, revision 2), 3 {here}",
        f"{server}, 8 {here}; needs a restart",
    ] == run("diff", "--config", str(file))[1].splitlines()
    told = json.loads(run("diff", "--json")[1])
    assert ("update, revision 2", "default", True) == (
        told["server_source"],
        told["here_source"],
        told["live"],
    )


def test_two_revisions_are_compared(run: Run, store: ConfigStore) -> None:
    """Two by number, or one with the one in effect."""
    run("set", "retry.max_attempts=4")
    run("set", "retry.max_attempts=5")
    assert "retry.max_attempts: 6 -> 4\n" == run("diff", "1", "2")[1]
    assert "retry.max_attempts: 6 -> 5\n" == run("diff", "1")[1]
    told = json.loads(run("diff", "3", "1", "--json")[1])
    assert {"path": "retry.max_attempts", "revision_3": 5, "revision_1": 6} == told
    assert (1, True) == (run("diff", "9")[0], "use one from 1 to 3" in run("diff", "9")[2])
    assert 2 == run("diff", "1", "2", "3")[0]
    assert 2 == run("diff", "1", "--config", "b.toml")[0]
