"""`python -m bench.instructions`: instructions per call and per event, counted by callgrind.

Counts vary by less than half a percent where times vary by a quarter, so that small differences
between two trees show. Both are counted in one run, in turns. Then the parts of a call are counted:
the engine, the edge, each layer of the chain, the upstream client and the translation.
"""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from bench.instructions import layers
from bench.instructions.callgrind import CountedServer, CountError, check_tools, check_tree, start
from bench.instructions.calls import KINDS, Client, Kind
from bench.instructions.counts import Counts, Tree, above, derived, ratios, remarks, table
from bench.instructions.parts import (
    COLUMNS,
    Cost,
    Parts,
    chain_goals,
    group_table,
    layer_table,
    parts,
)
from bench.programs import ROOT, BuildError, StartError, build_upstream, start_upstream
from bench.reports import documents

if TYPE_CHECKING:
    from collections.abc import Sequence

ROUNDS = 3
DONE, ABOVE, FAILED = 0, 1, 2
DOCUMENT = ROOT / "docs" / "performance.md"


def main(arguments: Sequence[str] | None = None) -> int:
    """Counts and prints; returns 0, 1 above the limit, 2 where it could not count."""
    options = _options(arguments)
    trees = [path.resolve() for path in (options.tree, options.against) if path]
    try:
        check_tools()
        for tree in trees:
            check_tree(tree)
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(FAILED))  # so that servers are stopped
        with ExitStack() as running:
            folder = options.keep or Path(running.enter_context(tempfile.TemporaryDirectory()))
            return _count(options, trees, folder.resolve(), running)
    except (BuildError, CountError, StartError) as error:
        _say(str(error))
        return FAILED


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.instructions", description=__doc__)
    parser.add_argument("--tree", type=Path, default=ROOT, help="checkout, default this one")
    parser.add_argument("--against", type=Path, metavar="TREE", help="checkout to compare with")
    parser.add_argument("--limit", type=float, help="exit 1 above this ratio, such as 1.03")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="rounds, default %(default)s")
    parser.add_argument("--keep", type=Path, help="new folder for callgrind's files")
    parser.add_argument("--no-parts", action="store_true", help="count only whole calls")
    parser.add_argument("--write-docs", action="store_true", help="put the tables into the docs")
    options = parser.parse_args(arguments)
    if options.limit is not None and options.against is None:
        parser.error("--limit needs --against")
    if options.keep is not None and options.keep.exists():
        parser.error(f"{options.keep} exists: name a folder to be made")
    if options.rounds < 1:
        parser.error("--rounds must be 1 or more")
    return options


def _count(
    options: argparse.Namespace, trees: Sequence[Path], folder: Path, running: ExitStack
) -> int:
    upstream = start_upstream(build_upstream())
    running.callback(upstream.stop)
    address = upstream.addresses["upstream"]
    with ExitStack() as servers:
        counted = _whole_calls(trees, address, folder, options.rounds, servers)
    found = [] if options.no_parts else _parts(trees, counted, address, folder, running)
    return _publish(options, counted, found)


def _whole_calls(
    trees: Sequence[Path], upstream: str, folder: Path, rounds: int, running: ExitStack
) -> list[Tree]:
    """Returns the counts of each tree's server."""
    pairs = []
    for number, tree in enumerate(trees):
        server = start(f"callgrind-{number}", tree, upstream, folder / str(number))
        running.callback(server.service.stop)
        client = running.enter_context(Client(server.address))
        _warm_up(server, client)
        pairs.append((server, client))
        _say(f"{tree} is warm")
    counted: list[Tree] = [{kind.name: Counts() for kind in KINDS} for _ in trees]
    for number in range(rounds):
        for (server, client), tree_counts in zip(pairs, counted, strict=True):
            server.taken()  # what it did while the other tree was counted
            for kind in KINDS:
                _sample(server, client, kind, tree_counts[kind.name])
        _say(f"round {number + 1} of {rounds} is done")
    return [derived(tree) for tree in counted]


def _parts(
    trees: Sequence[Path], counted: Sequence[Tree], upstream: str, folder: Path, running: ExitStack
) -> list[Parts]:
    """Returns what a call is made of, for each tree."""
    _say("counting the parts of a call")
    under_way = [
        layers.begin(tree, upstream, folder / f"parts-{number}", number, running)
        for number, tree in enumerate(trees)
    ]
    return [
        parts(one.counts(), Cost(*(tree[name].middle() for name in COLUMNS)))
        for one, tree in zip(under_way, counted, strict=True)
    ]


def _sample(server: CountedServer, client: Client, kind: Kind, counts: Counts) -> None:
    """Adds a round's samples of one kind."""
    for _ in range(kind.samples):
        messages = client.sample(kind)
        counts.instructions.append(server.taken() / kind.calls / kind.divisor)
        counts.messages.append(messages / kind.calls)


def _warm_up(server: CountedServer, client: Client) -> None:
    """Makes calls until further ones cost the same."""
    for kind in KINDS:
        client.warm_up(kind)
    server.count_from_now()
    for kind in KINDS:
        client.sample(kind)
    server.taken()


def _publish(options: argparse.Namespace, counted: Sequence[Tree], found: Sequence[Parts]) -> int:
    ours, before = counted[0], counted[1] if options.against else None
    blocks = [table(ours, before)]
    if found:
        parts_before = found[1] if options.against else None
        blocks += [group_table(found[0], parts_before), layer_table(found[0], parts_before)]
        if parts_before:
            blocks.append(chain_goals(found[0], parts_before))
    blocks += remarks(counted)
    block = "\n\n".join(blocks)
    sys.stdout.write(block + "\n")
    if options.write_docs:
        documents.write(DOCUMENT, block, "instructions")
    if before is None or options.limit is None:
        return DONE
    dearer = above(ratios(ours, before), options.limit)
    if dearer:
        _say(f"above {options.limit:g} times the instructions before: {', '.join(dearer)}")
    return ABOVE if dearer else DONE


def _say(text: str) -> None:
    sys.stderr.write(f"bench: {text}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main())
