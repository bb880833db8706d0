"""The documentation tells the truth: what it names exists, what it lists is all there is.

Covers: commands/doctor.py
"""

from __future__ import annotations

import argparse
import io
import re
import shlex
import sys
import tomllib
from importlib import import_module
from pathlib import Path

import msgspec
import pytest
import trustme
from prometheus_client.parser import text_string_to_metric_families

from gemini.backend.v1.content_pb2 import Usage
from gemini.backend.v1.error_details_pb2 import ErrorReason
from gemini_backend.cli import COMMANDS
from gemini_backend.config import read
from gemini_backend.config.reference.catalogue import expand, settings
from gemini_backend.policies.pipeline import Pipeline
from gemini_backend.rpc import contract
from gemini_backend.telemetry.events import CircuitChanged, StoreVisited
from gemini_backend.telemetry.logs.access_log import AccessLine
from gemini_backend.telemetry.logs.log_writer import LogWriter
from gemini_backend.upstream.simulator.faults import FAULTS
from gemini_backend.upstream.simulator.faults.script import parse_script
from tests.support.clock import FakeClock
from tests.support.composed import built_in_chain, composed
from tests.support.layers.inproc import collect
from tests.support.messages.calls import EXECUTE, make_call
from tests.support.messages.events import answered, arrived, begun, ended
from tests.support.pki import issue, write
from tests.support.servers.process import run_backend, run_command, serving
from tests.support.upstreams.scripted_attempts import ANSWER, REQUEST, Attempts
from tools.reference import api, errors, recommendations
from tools.reference.use_cases import DESCRIBED

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
REFERENCES = {"api.md", "configuration.md"}  # made from the code, and compared with it
PAGES = sorted(
    path
    for folder in (ROOT, DOCS, DOCS / "decisions", ROOT / "bench", ROOT / "clients/python")
    for path in folder.glob("*.md")
    if path.name not in {"CHANGELOG.md", *REFERENCES}
)
README = (ROOT / "README.md").read_text()
OPERATIONS = (DOCS / "operations.md").read_text()
SOURCES = [
    path
    for folder in ("server", "clients/python", "tests", "bench", "tools")
    for path in (ROOT / folder).rglob("*.py")
]

_LINK = re.compile(r"\]\((?!https?:)([^)\s]+)\)")
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_COMMAND = re.compile(r"(?:^|[\s`/])gemini-backend ((?:--)?[a-z]+(?![:a-z])[^`\n]*)")
_VARIABLE = re.compile(r"\bGEMINI_BACKEND_[A-Z_]+\b")
_METRIC = re.compile(r"\bgemini_backend_[a-z_]+\b(?!\.)")


def each_page() -> pytest.MarkDecorator:
    """Return the mark of a test that every page must pass."""
    return pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))


def blocks(text: str, *languages: str) -> list[str]:
    """Return the fenced blocks in these languages."""
    return [body for language, body in _FENCE.findall(text) if language in languages]


def rows(text: str, title: str) -> list[list[str]]:
    """Return the cells of the table whose head begins with `title`."""
    lines = iter(text.splitlines())
    next(line for line in lines if line.startswith(f"| {title} |"))
    next(lines)
    table = []
    for line in lines:
        if not line.startswith("|"):
            break
        table.append([cell.strip() for cell in line.strip("|").split("|")])
    return table


def names(text: str) -> list[str]:
    """Return what stands in backticks."""
    return re.findall(r"`([^`]+)`", text)


def anchor(heading: str) -> str:
    """Return a heading's anchor, as it is made of its words."""
    return re.sub(r"[^a-z0-9_\- ]", "", heading.lower()).strip().replace(" ", "-")


@each_page()
def test_links_lead_somewhere(page: Path) -> None:
    """A link to a file names one that exists, with a heading that it has."""
    for link in _LINK.findall(page.read_text()):
        path, _, heading = link.partition("#")
        target = page.parent / path if path else page
        assert target.exists(), link
        if heading:
            found = re.findall(r"^#+ (.+)$", target.read_text(), re.MULTILINE)
            assert heading in map(anchor, found), link


@each_page()
def test_commands_exist(page: Path) -> None:
    """A `gemini-backend` line is one that the command itself would take."""
    text = page.read_text().replace("\\\n", " ")
    for line in _COMMAND.findall(text):
        words = shlex.split(line.partition("  #")[0].rstrip(" .;,:)"), comments=True)
        if words[0] in {"--help", "--version"}:
            continue
        assert words[0] in COMMANDS, line
        parser = argparse.ArgumentParser(exit_on_error=False)
        import_module(COMMANDS[words[0]][1]).add_arguments(parser)
        below = parser._subparsers._group_actions[0].choices if parser._subparsers else None
        if isinstance(below, dict) and words[1:2] and words[1] in below:
            parser = below[words[1]]
        known = parser._option_string_actions
        assert [] == [word for word in words[1:] if word.startswith("--") and word not in known]


@each_page()
def test_make_targets_exist(page: Path) -> None:
    """A `make` target that is named can be made."""
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    text = page.read_text()
    named = re.findall(r"`make ([a-z-]+)", text) + re.findall(
        r"^\$ make ([a-z-]+)", text, re.MULTILINE
    )
    assert [] == [target for target in named if target not in targets]


@each_page()
def test_variables_exist(page: Path) -> None:
    """An environment variable of ours that is named is one that is read."""
    known = {setting.variable for setting in settings().values()}
    known |= {"GEMINI_BACKEND_CONFIG", "GEMINI_BACKEND_KEY", "GEMINI_BACKEND_TEST_DATA"}
    assert set() == set(_VARIABLE.findall(page.read_text())) - known


@each_page()
def test_settings_exist(page: Path) -> None:
    """What looks like a setting is one, or a section; `server.tls_*` stands for several."""
    tops = {path.partition(".")[0] for path in settings()}
    for name in names(page.read_text()):
        path, _, value = name.partition(" = ")
        if path.partition(".")[0] not in tops or not re.fullmatch(r"[a-z_]+(\.[a-z_*]+)+", path):
            continue
        if value:
            assert (
                value == msgspec.json.encode(tomllib.loads(name.replace(path, "x"))["x"]).decode()
            )
        stem = path.removesuffix("*")
        assert expand(path) or any(one.startswith(stem) for one in settings() if "*" in path), name


@each_page()
def test_configuration_examples_are_read(page: Path, tmp_path: Path) -> None:
    """A TOML example is a configuration that the server takes, or a script of the simulator."""
    for index, body in enumerate(blocks(page.read_text(), "toml")):
        tables = tomllib.loads(body).keys()
        if {"rules", "limits"} & tables:
            assert parse_script(body).rules
            continue
        if "as_of" in tables:
            continue  # a catalogue of models: tests/models/test_catalogue.py loads it
        file = tmp_path / f"{index}.toml"
        file.write_text(body)
        read(file, {})


def test_api_reference_is_current() -> None:
    """docs/api.md is what `make gen` makes."""
    assert api.render() == (DOCS / "api.md").read_text()


def test_error_reference_is_current() -> None:
    """docs/errors.md is what `make gen` makes."""
    assert errors.render() == (DOCS / "errors.md").read_text()


def test_recommendations_are_current() -> None:
    """docs/recommendations.md is what `make gen` makes, for ten use cases and more."""
    assert recommendations.render() == (DOCS / "recommendations.md").read_text()
    assert len(DESCRIBED) >= 10


def test_api_reference_is_complete() -> None:
    """Every service, RPC, message and enum of the contract is on the page, with a comment."""
    page = api.render()
    assert [] == re.findall(r"^\|.*\|\s*\|$", page, re.MULTILINE)
    for file in contract._FILES:
        described = [*file.DESCRIPTOR.message_types_by_name, *file.DESCRIPTOR.enum_types_by_name]
        for name in [*described, *file.DESCRIPTOR.services_by_name]:
            assert f"\n### {name}\n\n" in page, name


def test_readme_says_what_it_can_do() -> None:
    """The table of the README has every RPC, told apart by whether this version can do it."""
    done = api.implemented()
    expected = {
        service.name: (
            [method.name for method in service.methods if method.name in done],
            [method.name for method in service.methods if method.name not in done],
        )
        for service in contract.SERVICES
    }
    assert expected == {row[0]: (names(row[1]), names(row[2])) for row in rows(README, "service")}


_FILE = re.compile(r"`((?:[\w]+/)*[\w]+\.py)`")


@each_page()
def test_files_that_are_named_exist(page: Path) -> None:
    """A Python file that a page names is there, under that name or at the end of a path."""
    paths = {f"/{path.relative_to(ROOT).as_posix()}" for path in SOURCES}
    named = set(_FILE.findall(page.read_text()))
    assert set() == {name for name in named if not any(path.endswith(f"/{name}") for path in paths)}


def layers() -> list[str]:
    """Return the names of the built-in layers, in their order."""
    return [row.name for row in built_in_chain()]


def test_architecture_lists_the_chain() -> None:
    """The table of layers has every layer in its place: the order is the architecture."""
    table = rows((DOCS / "architecture.md").read_text(), "layer")
    assert layers() == [row[0] for row in table]


async def test_metrics_are_listed(tmp_path: Path) -> None:
    """The table of metrics has every one that is exposed, with its labels, and no other."""
    clock = FakeClock()
    tls = {
        f"SERVER__{name.upper()}": file
        for name, file in write(tmp_path, issue(trustme.CA())).items()
    }
    more = {"AUDIT__ENABLED": "true", "AUTH__METHODS": "api_key", **tls}
    parts, assembly = composed(clock, QUOTA__REQUESTS_PER_MINUTE="9", **more)
    parts.log_calls(LogWriter(io.StringIO()))
    metrics, bus, overview = parts.seen.metrics, parts.base.bus, assembly.overview
    run = Pipeline(overview.breaker, overview.quota).stream(Attempts(clock, ANSWER).stream)
    await collect(run(make_call(clock), REQUEST))
    bus.publish(arrived(EXECUTE))
    bus.publish(answered(EXECUTE, "OK", "", 0.1))
    bus.publish(begun("another"))
    bus.publish(ended("models/gemini-2.5-flash", usage=Usage(), cost_nano_usd=1))
    bus.publish(CircuitChanged(overview.breaker.states()[0], None))
    bus.publish(StoreVisited("sessions", "load", 0.1, failed=False))
    exposed = {}
    for family in text_string_to_metric_families(metrics.exposition().decode()):
        name = f"{family.name}_total" if family.type == "counter" else family.name
        exposed[name] = sorted(family.samples[0].labels.keys() - {"le"})
    listed = {
        names(row[0])[0]: sorted(filter(None, row[1].split(", ")))
        for row in rows(OPERATIONS, "metric")
    }
    assert exposed == listed


@each_page()
def test_metrics_exist(page: Path) -> None:
    """A metric that is named is in the table of metrics."""
    listed = {names(row[0])[0] for row in rows(OPERATIONS, "metric")}
    named = set(_METRIC.findall(page.read_text())) - {"gemini_backend_client"}
    assert set() == {name for name in named if name not in listed and f"{name}_" not in str(listed)}


def test_access_line_is_described() -> None:
    """The table of fields has every field of the access line, and no other."""
    described = [name for row in rows(OPERATIONS, "field") for name in names(row[0])]
    assert sorted(AccessLine.__struct_fields__) == sorted(described)
    (example,) = blocks(OPERATIONS, "json")
    assert msgspec.json.decode(example, type=AccessLine, strict=True).execution


@each_page()
def test_reasons_exist(page: Path) -> None:
    """A reason that is named is one of the contract's."""
    known = {name.removeprefix("ERROR_REASON_") for name in ErrorReason.keys()}  # noqa: SIM118
    named = re.findall(r"`((?:CALLER|POLICY|UPSTREAM|BACKEND)_[A-Z_]+)`", page.read_text())
    assert set() == set(named) - known


@each_page()
def test_faults_exist(page: Path) -> None:
    """A fault that is shown is one of the simulator's."""
    text = page.read_text()
    named = re.findall(r"\[\[fault: ([a-z_]+)", text)
    assert set() == set(named) - FAULTS.keys()


def calls_shown() -> list[tuple[list[str], str]]:
    """Return the arguments of each `call` that the README shows, and the output it shows."""
    shown = []
    for block in blocks(README, "console"):
        command, _, output = block.partition("\n")
        found = re.fullmatch(r"\$ \.venv/bin/gemini-backend (call .*)", command)
        if found:
            shown.append((shlex.split(found[1]), output))
    return shown


def timeless(output: str) -> str:
    """Return output without what differs from run to run, and from price to price."""
    return re.sub(r"\$\d+\.\d+", "$N", re.sub(r"\d+\.\d\d s", "N s", output))


async def test_readme_shows_real_output() -> None:
    """The commands that the README shows print what it shows, times apart."""
    shown = calls_shown()
    assert len(shown) == 2
    async with serving() as server:
        for arguments, output in shown:
            done = await run_backend(*arguments, "--target", server.grpc)
            assert timeless(output) == timeless(done.stdout + done.stderr)


async def test_readme_example_runs(tmp_path: Path) -> None:
    """The Python example streams an answer."""
    (example,) = blocks(README, "python")
    file = tmp_path / "example.py"
    async with serving() as server:
        file.write_text(example.replace("127.0.0.1:50051", server.grpc))
        done = await run_command(sys.executable, str(file))
    assert (0, "") == (done.code, done.stderr)
    assert "Rivers at first light,\nquiet words drift into view,\nthe day finds its shape." == (
        done.stdout
    )
