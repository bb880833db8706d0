"""Makes the state of the contract that changes are held against: `python -m tools.baseline`.

`protos/baseline.binpb` is what `make check` compares the protos with, so that nothing breaks a
client unseen. A new one stands for changes that are meant: it is made only where CHANGELOG.md has
gained a line under "Unreleased" since the last one was committed.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
BASELINE = Path("protos/baseline.binpb")
CHANGELOG = "CHANGELOG.md"
_UNRELEASED = "## Unreleased"


def image(root: Path = ROOT) -> bytes:
    """Return the contract as buf's image, without places in files: the same for the same protos.

    Raises:
        subprocess.CalledProcessError: the protos cannot be compiled; buf has said why.
    """
    buf = Path(sys.executable).with_name("buf")
    command = [str(buf), "build", "--path", "protos/gemini", "--exclude-source-info", "-o", "-"]
    done = subprocess.run(command, cwd=root, check=True, stdout=subprocess.PIPE)  # noqa: S603 - all our own
    return done.stdout


def unreleased(changelog: str) -> set[str]:
    """Return the entries that no release has yet."""
    _, _, after = changelog.partition(f"{_UNRELEASED}\n")
    section = after.partition("\n## ")[0]
    return {line.strip() for line in section.splitlines() if line.startswith("- ")}


def missing_entry(before: str | None, now: str) -> str:
    """Return why no new baseline may be made, in words; empty where it may.

    Args:
        before: The change log at the last baseline; None where there was none.
        now: The change log as it is.
    """
    if before is None or unreleased(now) - unreleased(before):
        return ""
    return (
        f"{CHANGELOG} has gained no line under Unreleased since the last baseline: write what "
        "changes for a client, then run make baseline again"
    )


def _changelog_of_last(root: Path) -> str | None:
    """Return the change log of the commit that made the last baseline; None where none did."""
    last = _git(root, "log", "-1", "--format=%H", "--", str(BASELINE)).strip()
    return _git(root, "show", f"{last}:{CHANGELOG}") if last else None


def _git(root: Path, *arguments: str) -> str:
    command = [shutil.which("git") or "git", *arguments]
    done = subprocess.run(command, cwd=root, check=True, stdout=subprocess.PIPE, text=True)  # noqa: S603 - all our own
    return done.stdout


def main(root: Path = ROOT) -> int:
    """Write the baseline; return the exit status."""
    made, path = image(root), root / BASELINE
    if path.exists() and path.read_bytes() == made:
        sys.stdout.write("the baseline is current\n")
        return 0
    wrong = missing_entry(_changelog_of_last(root), (root / CHANGELOG).read_text())
    if wrong:
        sys.stderr.write(f"{wrong}\n")
        return 1
    path.write_bytes(made)
    sys.stdout.write(f"wrote {BASELINE}; commit it with the protos and {CHANGELOG}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
