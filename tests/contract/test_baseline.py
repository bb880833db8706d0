"""The contract is held against a state that is committed, and that nobody rewrites unseen."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tools import baseline

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).parents[2]
LOG = "# Changelog\n\n## Unreleased\n\n### Added\n- one\n\n## 1.0.0\n- two\n"


def compared(root: Path) -> subprocess.CompletedProcess[str]:
    """Hold the protos of a folder against its baseline, with the very command of `make check`."""
    (line,) = [
        line.strip()
        for line in (ROOT / "Makefile").read_text().splitlines()
        if "buf breaking" in line
    ]
    command = line.replace("$(BIN)", str(Path(sys.executable).parent))
    return subprocess.run(
        ["bash", "-o", "pipefail", "-c", command],
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the protos and their baseline."""
    shutil.copytree(ROOT / "protos", tmp_path / "protos")
    shutil.copy(ROOT / "buf.yaml", tmp_path)
    return tmp_path


def changed(root: Path, before: str, after: str) -> None:
    """Replace a text in the file of all content."""
    path = root / "protos/gemini/backend/v1/content.proto"
    text = path.read_text()
    assert before in text
    path.write_text(text.replace(before, after))


def test_nothing_breaks_the_contract_as_it_is(copy: Path) -> None:
    """The protos hold what the baseline promises."""
    done = compared(copy)
    assert (0, "", "") == (done.returncode, done.stdout, done.stderr)


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        (
            "optional int32 top_k = 3 [",
            "optional int32 top_most = 3 [",
            'from "top_k" to "top_most"',
        ),
        ("optional int32 top_k = 3 [", "optional int32 top_k = 98 [", 'field "3"'),
        ("FINISH_REASON_STOP = 1;", "FINISH_REASON_STOP = 98;", 'enum value "1"'),
        ("string args_json = 4;", "bytes args_json = 4;", '"string" to "bytes"'),
    ],
)
def test_what_breaks_a_client_is_told(copy: Path, before: str, after: str, told: str) -> None:
    """A field or value that is renamed, moved, or of another type, by its place."""
    changed(copy, before, after)
    done = compared(copy)
    assert done.returncode
    assert told in done.stdout
    assert "gemini/backend/v1/content.proto:" in done.stdout


def test_what_is_added_breaks_nobody(copy: Path) -> None:
    """A new field needs no new baseline."""
    changed(copy, "string args_json = 4;", "string args_json = 4;\n  string more_text = 98;")
    assert 0 == compared(copy).returncode


def test_the_image_is_the_same_each_time(copy: Path) -> None:
    """The same protos make the same bytes, wherever they lie."""
    assert baseline.image(copy) == baseline.image()


# --- making a new one


@pytest.mark.parametrize(
    ("before", "now", "may"),
    [
        (None, LOG, True),
        (LOG, LOG, False),
        (LOG, LOG.replace("- one\n", "- one\n- more\n"), True),
        (LOG, LOG.replace("- two\n", "- two\n- more\n"), False),
        (LOG, LOG.replace("- one\n", "- one\nmore\n"), False),
        (LOG, LOG.replace("- one\n", ""), False),
        ("# Changelog\n", LOG, True),
    ],
)
def test_a_new_baseline_needs_a_line(before: str | None, now: str, may: bool) -> None:
    """One under Unreleased, since the last baseline; the first one needs none."""
    assert may == (baseline.missing_entry(before, now) == "")


@pytest.fixture
def repository(copy: Path) -> Callable[..., None]:
    """A repository of the copy, with its baseline committed; returns what commits it again."""
    (copy / "CHANGELOG.md").write_text(LOG)
    name = ["-c", "user.name=t", "-c", "user.email=t@example.com"]

    def git(*arguments: str) -> None:
        subprocess.run(["git", *name, *arguments], cwd=copy, check=True, capture_output=True)

    git("init", "-q")
    git("add", "-A")
    git("commit", "-q", "-m", "first")
    return git


def test_making_one(
    copy: Path, repository: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    """Refused without a line, and nothing is written; made with one; then it is current."""
    path = copy / baseline.BASELINE
    path.write_bytes(baseline.image(copy))
    repository("commit", "-q", "-a", "--allow-empty", "-m", "second")
    kept = path.read_bytes()
    changed(copy, "optional int32 top_k = 3 [", "optional int32 top_most = 3 [")
    assert 1 == baseline.main(copy)
    assert "CHANGELOG.md" in capsys.readouterr().err
    assert kept == path.read_bytes()
    (copy / "CHANGELOG.md").write_text(LOG.replace("- one\n", "- one\n- top_k is top_most\n"))
    assert 0 == baseline.main(copy)
    assert kept != path.read_bytes()
    assert 0 == compared(copy).returncode
    assert 0 == baseline.main(copy)
    assert "current" in capsys.readouterr().out
