"""What a run says of its suites: the minutes of each; where nothing may be left out, what was.

Imported by tests/conftest.py; pytest knows the hooks by their names.
"""

from __future__ import annotations

import os
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterable

# Where CI collects the minutes of several runs; read once, before a test clears anything.
TIMES = os.environ.get("SUITE_TIMES")
CI = os.environ.get("CI", "").lower() in {"1", "true"}


def suite_of(nodeid: str) -> str:
    """Return the suite of a test: the folder below tests/, or whose client it tests."""
    folders = nodeid.partition("::")[0].split("/")[:-1]
    return "/".join(folders[1:2] or folders) if folders[0] == "tests" else "/".join(folders[:2])


def minutes(reports: Iterable[Any]) -> dict[str, float]:
    """Return what each suite took, set-up included, the longest first."""
    seconds: dict[str, float] = defaultdict(float)
    for report in reports:
        if isinstance(report, pytest.TestReport):
            seconds[suite_of(report.nodeid)] += report.duration
    longest = sorted(seconds.items(), key=lambda row: -row[1])
    return {name: took / 60 for name, took in longest}


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print the minutes of each suite, added up over all workers."""
    reports = [one for found in terminalreporter.stats.values() for one in found]
    rows = [f"{took:6.2f} {name}" for name, took in minutes(reports).items()]
    terminalreporter.section("minutes of work per suite")
    terminalreporter.write_line("\n".join(rows))
    if TIMES:
        with Path(TIMES).open("a") as file:
            file.writelines(f"{row}\n" for row in rows)


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Let a run in CI fail where a test was skipped; `-ra` has printed which and why."""
    reporter: Any = session.config.pluginmanager.get_plugin("terminalreporter")
    if CI and reporter is not None and reporter.stats.get("skipped"):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
