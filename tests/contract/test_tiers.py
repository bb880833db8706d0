"""`make test` and `make test-full` share the tests between them: none is lost, none runs twice."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.support import suites

ROOT = Path(__file__).parents[2]
MAKEFILE = (ROOT / "Makefile").read_text()
RUNS = re.compile(r"^\t\$\(BIN\)/pytest (.*)$", re.MULTILINE)


def full() -> list[str]:
    """Return the folders that `make test-full` runs."""
    found = re.search(r"^FULL := (.*)$", MAKEFILE, re.MULTILINE)
    assert found
    return found[1].split()


def recipe(target: str) -> str:
    """Return what `make TARGET` hands to pytest."""
    rule = MAKEFILE.partition(f"\n{target}: ")[2].partition("\n\n")[0]
    (arguments,) = RUNS.findall(rule)
    return str(arguments)


def test_what_one_leaves_out_the_other_runs() -> None:
    """`make test` runs all of pytest's paths but certain folders, `make test-full` just those."""
    assert "-n auto --dist loadfile $(FULL:%=--ignore=tests/%)" == recipe("test")
    assert "$(FULL:%=tests/%)" == recipe("test-full")


def test_what_runs_over_the_other_http_client_is_there() -> None:
    """Each path of the second pass of `make test-full` has tests."""
    found = re.search(r"^OVER_AIOHTTP := ((?:.*\\\n)*.*)$", MAKEFILE, re.MULTILINE)
    assert found
    paths = [ROOT / "tests" / name for name in found[1].replace("\\\n", " ").split()]
    assert paths
    assert [] == [path for path in paths if not path.exists()]
    assert "$(OVER_AIOHTTP:%=tests/%)" in MAKEFILE


def test_every_test_file_is_found_by_pytest() -> None:
    """No test lies outside of the paths that pytest looks at by itself."""
    options = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["pytest"]["ini_options"]
    paths = [ROOT / name for name in options["testpaths"]]
    folders = [ROOT / name for name in ("server", "clients", "tests", "bench", "tools")]
    files = [file for folder in folders for file in folder.rglob("test_*.py")]
    lost = [file for file in files if not any(file.is_relative_to(path) for path in paths)]
    assert [] == lost


def test_the_folders_are_there() -> None:
    """Each folder of `make test-full` has tests, and CONTRIBUTING.md names it."""
    page = (ROOT / "CONTRIBUTING.md").read_text()
    for name in full():
        assert list((ROOT / "tests" / name).rglob("test_*.py"))
        assert f"`tests/{name}`" in page


def test_a_suite_is_a_folder() -> None:
    """Minutes are added up by the folder below tests/, by client elsewhere, the longest first."""
    reports = [
        report("tests/e2e/upstream/test_keys.py::test_a", 60),
        report("tests/policies/flow/test_queue.py::test_b", 30),
        report("tests/policies/test_base.py::test_c", 60),
        report("clients/python/tests/test_retry.py::test_d", 6),
        report("tests/test_clock.py::test_e[a/b]", 3),
        SimpleNamespace(nodeid="tests/e2e/test_x.py", duration=9),
    ]
    found = suites.minutes(reports)
    assert {"policies": 1.5, "e2e": 1.0, "clients/python": 0.1, "tests": 0.05} == found
    assert ["policies", "e2e", "clients/python", "tests"] == list(found)


def report(nodeid: str, seconds: float) -> pytest.TestReport:
    """Return the report of a test that passed."""
    return pytest.TestReport(nodeid, ("", 0, ""), {}, "passed", None, "call", duration=seconds)


@pytest.mark.parametrize(("ci", "skipped", "status"), [(True, 1, 1), (True, 0, 0), (False, 1, 0)])
def test_nothing_is_left_out_in_ci(
    monkeypatch: pytest.MonkeyPatch, ci: bool, skipped: int, status: int
) -> None:
    """A skipped test fails the run where CI is set, and only there."""
    monkeypatch.setattr(suites, "CI", ci)
    reporter = SimpleNamespace(stats={"skipped": [object()] * skipped})
    manager = SimpleNamespace(get_plugin={"terminalreporter": reporter}.get)
    session = SimpleNamespace(config=SimpleNamespace(pluginmanager=manager), exitstatus=0)
    suites.pytest_sessionfinish(session)  # type: ignore[arg-type] # all of a session that it uses
    assert status == session.exitstatus
