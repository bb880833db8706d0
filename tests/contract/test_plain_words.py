"""Everything a user reads is plain technical English: no text has an idiom of the list."""

from __future__ import annotations

import argparse
import ast
import re
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from gemini_backend.cli import COMMANDS
from gemini_backend.config.reference.catalogue import settings
from tools.reference.protos import contract

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]

# (what must not be written, what to write instead, a sentence that must be found)
IDIOMS = (
    (
        r"\b(requests|tokens|executions|retries|streams|calls) an? (second|minute|day)\b",
        "requests per minute",
        "Requests a minute for each model.",
    ),
    (
        r"\b(breaker|one|once) an? (model|key|kind|page|call|stream|candidate|turn|content)\b",
        "one circuit breaker per model",
        "A circuit breaker a model.",
    ),
    (r"\b(µs|ms|KiB|MiB) an? \w+", "KiB per stream", "41 KiB a stream."),
    (
        r"\bstands? (round|around|beside|behind|in place|inside|outside|between|just)\b",
        "wraps, is next to, replaces, is between",
        "Round it stand policies; it stands between both.",
    ),
    (
        r"\b(round (each|every|it|the|them)|(nothing|function|layer) round)\b",
        "around, or wraps",
        "Round each execution there are policies.",
    ),
    (r"(?<!there )\b(is|are) none\b", "is not", "A name that is none."),
    (
        r"(?<!there )\b(is|are|was) no (setting|stream|turn|JSON|TOML|name|number|moment)\b",
        "is not a",
        "server.lisen is no setting.",
    ),
    (r"\btells? (of|how|whether|what|the)\b", "reports", "The log tells of both."),
    (r"\b(is|are|was|were|be) told\b", "is reported", "A key that is told."),
    (r"\b(made|makes?|tried|tries) (again|anew)\b", "retries", "Failed attempts are made again."),
    (r"\bput out\b", "evicted, displaced", "The oldest one is put out."),
    (r"\bof late\b", "recently", "It failed too often of late."),
    (r"\bas (it|they) (comes?|came|stands?)\b", "unchanged, as received", "Sent as it came."),
    (r"\bto the letter\b", "verbatim", "Texts are sent to the letter."),
    (r"\bby (itself|themselves)\b", "on its own, separately", "It also runs by itself."),
    (r"\b(can|cannot|could|may|to) be had\b", "is available, can be used", "It cannot be had."),
    (r"\b(is|are) (ill|well)(?! \w+ed\b)", "is healthy, works", "The process itself is well."),
    (r"\b(left|leave|leaves) (it |them )?alone\b", "not used, not called", "It is left alone."),
    (r"\bin hand\b", "current", "No call is in hand."),
    (r"\b(let|lets|letting) go\b", "evicts, releases", "The journal let go of it."),
    (r"\b(says?|said) so\b", "specifies it, reports it", "Where upstream says so."),
    (r"\bunless (it|the \w+) says\b", "unless it specifies it", "Unless the request says."),
    (
        r"\bwhere (there (is|are) (one|any|none)|not known|(it|that) is not known|it does)\b",
        "if any, if unknown",
        "The nearest name, where there is one.",
    ),
    (
        r"\b(whoever|whosoever)\b",
        "the caller, anyone who",
        "The limit of whoever asked.",
    ),
    (r"\b(go|goes|going|gone|went) on (with|from|in|over)\b", "continues", "It goes on with it."),
    (r"\bhand(s|ed|ing)? (on|over|out|in)\b", "delivers, forwards, passes", "It is handed on."),
    (r"\bfor (not|nothing) at all\b", "disables it", "0 for not at all."),
    (r"\bsee to\b", "fix, resolve", "An operator must see to it."),
    (r"\b(falls?|fell) silent\b", "sends nothing, stalls", "The model fell silent."),
    (r"\bin mid-(answer|stream)\b", "during the answer", "The connection died in mid-answer."),
    (r"\bsigns? of life\b", "a TCP keepalive probe is answered", "No sign of life came."),
    (r"\b(take|takes|taken|took) (it |them )?up again\b", "resume", "Streams taken up again."),
    (r"\bfor want of\b", "because ... is full, is missing", "Evicted for want of room."),
    (
        r"\bbr(eak|eaks|oke|oken) (it |\w+ )?off (with|after)\b",
        "interrupts",
        "It broke off with X.",
    ),
    (r"\bdear(er|est)?\b", "expensive", "The dearest of its media."),
    (r"\bmend(s|ed|ing)?\b", "fix", "Say what to mend."),
    (r"\bout of (the|a) (\w+ )?cache\b", "from the cache", "An answer out of the cache."),
    (r"\bkinds? of medium\b", "modality", "Tokens by kind of medium."),
    (r"\bnobody\b", "no caller, unrequested", "Bytes that nobody asked for."),
    (r"\bunder way\b", "in progress", "Identical executions under way."),
    (r"\bat odds\b", "contradict each other", "Bounds at odds with each other."),
    (
        r"\b(went|goes|going) away\b|\bcallers? (had )?left\b",
        "disconnected",
        "The caller went away.",
    ),
    (r"\bleave (it|them|one) out\b", "omit it", "Leave it out."),
    (r"\b(sums?|summed) (it |them )?up\b", "summarizes", "The model sums them up."),
    (r"\bat present\b", "currently", "It does not answer at present."),
    (
        r"\bMost (memory|bytes|tokens|answers|entries|connections|RPCs|turns|sessions|calls)\b",
        "Maximum number of",
        "Most answers; beyond it one is evicted.",
    ),
    (r"\brides? on\b", "is sent with", "Usage rides on deltas."),
    (r"\bnevertheless asked\b|\ball the same\b", "anyway", "It is sent all the same."),
    (r"\bonce and for all\b|\bfor good\b", "permanently", "Deleted for good."),
    (r"\bat the last\b", "finally", "An old answer at the last."),
    (r"\bat the most\b|\bat the least\b", "at most, at least", "Half a second at the most."),
    (r"\bis there already\b", "already exists", "The file is there already."),
    (r"\bgives? way\b", "is displaced", "The newest gives way."),
)
_COMPILED = tuple((re.compile(idiom, re.IGNORECASE), instead) for idiom, instead, _ in IDIOMS)

# texts in string literals that are not the server's own words
_CODE_LEFT_OUT = {
    "upstream/simulator/answers": "answers as a model writes them",
    "upstream/simulator/engines": "answers as a model writes them",
    "upstream/simulator/faults": "Google's own words",
    "upstream/simulator/requests": "Google's own words",
    "upstream/simulator/resources": "Google's own words",
    "upstream/simulator/errors.py": "Google's own words",
}


def found(text: str) -> list[str]:
    """Return each idiom in a text with what to write instead."""
    flat = " ".join(text.split())
    return [
        f"{flat[max(0, hit.start() - 40) : hit.end() + 40]!r}: write {instead!r}"
        for pattern, instead in _COMPILED
        for hit in pattern.finditer(flat)
    ]


def pages() -> Iterator[Path]:
    """Yield the pages that users read."""
    folders = (
        ROOT,
        ROOT / "docs",
        ROOT / "docs/decisions",
        ROOT / "clients/python",
        ROOT / "bench",
    )
    for folder in folders:
        yield from sorted(folder.glob("*.md"))


def literals(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the string literals of a module that are sentences, docstrings left out."""
    tree = ast.parse(path.read_text())
    alone = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and " " in node.value.strip()
            and id(node) not in alone
        ):
            yield node.lineno, node.value


def modules() -> Iterator[Path]:
    """Yield the modules whose sentences users read."""
    for root in (ROOT / "server/gemini_backend", ROOT / "clients/python/src/gemini_backend_client"):
        for path in sorted(root.rglob("*.py")):
            inside = str(path.relative_to(root))
            if not any(inside.startswith(left_out) for left_out in _CODE_LEFT_OUT):
                yield path


@pytest.mark.parametrize(("idiom", "instead", "sentence"), IDIOMS, ids=lambda one: one[:30])
def test_each_idiom_is_found(idiom: str, instead: str, sentence: str) -> None:
    """A sentence with the idiom is found, and what to write instead is free of it."""
    assert re.search(idiom, sentence, re.IGNORECASE)
    assert not re.search(idiom, instead, re.IGNORECASE)


@pytest.mark.parametrize("page", list(pages()), ids=lambda path: str(path.relative_to(ROOT)))
def test_pages(page: Path) -> None:
    """No page that a user reads has one of the idioms."""
    assert [] == found(
        re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    )


@pytest.mark.parametrize("path", sorted(settings()))
def test_settings(path: str) -> None:
    """No description of a setting has one of the idioms, or begins with "Whether"."""
    description = settings()[path].description
    assert [] == found(description)
    assert not description.startswith("Whether ")


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_help(command: str) -> None:
    """No help text of a command has one of the idioms."""
    parser = argparse.ArgumentParser(prog=command)
    import_module(COMMANDS[command][1]).add_arguments(parser)
    texts = [COMMANDS[command][0], parser.format_help()]
    below = parser._subparsers._group_actions[0].choices if parser._subparsers else None
    if isinstance(below, dict):
        texts += [one.format_help() for one in below.values()]
    assert [] == found(" ".join(texts))


def test_make_targets() -> None:
    """No line of `make help` has one of the idioms."""
    text = (ROOT / "Makefile").read_text()
    lines = re.findall(r"^[a-z-]+:.*## (.*)$", text, re.MULTILINE)
    assert lines != []
    assert [] == [one for line in lines for one in found(line)]


def test_messages() -> None:
    """No sentence in the code of server and client has one of the idioms: errors, logs, health."""
    wrong = [
        f"{path.relative_to(ROOT)}:{line}: {one}"
        for path in modules()
        for line, text in literals(path)
        for one in found(text)
    ]
    assert [] == wrong


def test_contract() -> None:
    """No comment of the contract has one of the idioms."""
    wrong = []
    for file in contract():
        for part in (*file.messages, *file.enums, *file.services):
            for member, comment in [("", part.comment), *part.members.items()]:
                wrong += [f"{part.name}.{member}: {one}" for one in found(comment)]
    assert [] == wrong
