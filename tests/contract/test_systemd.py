"""The systemd unit: the one in the documentation, accepted by systemd, with few rights."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

from gemini_backend.config import read

ROOT = Path(__file__).parents[2]
UNIT = ROOT / "packaging" / "systemd" / "gemini-backend.service"
MOST_EXPOSURE = 2.0


def test_the_documentation_has_the_unit() -> None:
    """The unit in docs/operations.md is the one that is shipped."""
    (shown,) = re.findall(
        r"```ini\n(.*?)```", (ROOT / "docs" / "operations.md").read_text(), re.DOTALL
    )
    assert UNIT.read_text() == shown


def test_its_settings_exist() -> None:
    """Each variable that it sets, or shows in a comment, is a setting."""
    named = re.findall(r"Environment=(GEMINI_BACKEND_\w+)=(\S+)", UNIT.read_text())
    settings = {name: value for name, value in named if name != "GEMINI_BACKEND_CONFIG"}
    assert "/var/lib/gemini-backend" == read(None, settings, {}).config.state.dir


def test_it_waits_longer_than_the_drain() -> None:
    """Systemd kills the service later than it would have stopped by itself."""
    (seconds,) = re.findall(r"TimeoutStopSec=(\d+)", UNIT.read_text())
    assert int(seconds) > read(None, {}, {}).config.server.drain_seconds + 10


def analyzed(folder: Path, *command: str) -> str:
    """Return what systemd says of the unit, its command being one that there is; empty without it.

    Raises:
        AssertionError: systemd does not accept it.
    """
    tool = shutil.which("systemd-analyze")
    if tool is None:
        return ""
    file = folder / UNIT.name
    file.write_text(re.sub(r"ExecStart=.*", "ExecStart=/bin/true", UNIT.read_text()))
    done = subprocess.run([tool, *command, str(file)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done
    return done.stdout + done.stderr


def test_systemd_accepts_it(tmp_path: Path) -> None:
    """Nothing in it is unknown to systemd, where that is installed; each line is a setting."""
    said = analyzed(tmp_path, "verify")
    assert [] == [line for line in said.splitlines() if UNIT.name in line]
    lines = UNIT.read_text().splitlines()
    assert [] == [one for one in lines if one and not re.match(r"\[\w+\]$|# ?\w|\w+=", one)]


def test_it_has_few_rights(tmp_path: Path) -> None:
    """Systemd's own measure, from 0 to 10, of what a service might do if it were taken over."""
    said = analyzed(tmp_path, "security", "--offline=true", "--no-pager")
    found = re.findall(r"exposure level.*?: ([0-9.]+)", said) or ["0"]
    assert float(found[0]) <= MOST_EXPOSURE
