"""`python -m bench.instructions`: instructions per call and per event, counted by callgrind.

Counts vary by less than half a percent where times vary by a quarter, so that small differences
between two trees show. Both are counted in one run, in turns.
"""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from bench.instructions.callgrind import CountedServer, CountError, check_tools, check_tree, start
from bench.instructions.calls import KINDS, Client, Kind
from bench.instructions.counts import Counts, Tree, above, ratios, remarks, table
from bench.programs import ROOT, BuildError, StartError, build_upstream, start_upstream

if TYPE_CHECKING:
    from collections.abc import Sequence

ROUNDS = 5
DONE, ABOVE, FAILED = 0, 1, 2


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
            counted = _count(trees, folder.resolve(), options.rounds, running)
    except (BuildError, CountError, StartError) as error:
        _say(str(error))
        return FAILED
    return _publish(counted, options)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.instructions", description=__doc__)
    parser.add_argument("--tree", type=Path, default=ROOT, help="checkout, default this one")
    parser.add_argument("--against", type=Path, metavar="TREE", help="checkout to compare with")
    parser.add_argument("--limit", type=float, help="exit 1 above this ratio, such as 1.03")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="rounds, default %(default)s")
    parser.add_argument("--keep", type=Path, help="new folder for callgrind's files")
    options = parser.parse_args(arguments)
    if options.limit is not None and options.against is None:
        parser.error("--limit needs --against")
    if options.keep is not None and options.keep.exists():
        parser.error(f"{options.keep} exists: name a folder to be made")
    if options.rounds < 1:
        parser.error("--rounds must be 1 or more")
    return options


def _count(trees: Sequence[Path], folder: Path, rounds: int, running: ExitStack) -> list[Tree]:
    """Returns the counts of each tree."""
    upstream = start_upstream(build_upstream())
    running.callback(upstream.stop)
    pairs = []
    for number, tree in enumerate(trees):
        name = f"callgrind-{number}"
        server = start(name, tree, upstream.addresses["upstream"], folder / str(number))
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
    return counted


def _sample(server: CountedServer, client: Client, kind: Kind, counts: Counts) -> None:
    """Adds a round's samples of one kind."""
    for _ in range(kind.samples):
        messages = client.sample(kind)
        counts.instructions.append(server.taken() / kind.calls / kind.events)
        counts.messages.append(messages / kind.calls)


def _warm_up(server: CountedServer, client: Client) -> None:
    """Makes calls until further ones cost the same."""
    for kind in KINDS:
        client.warm_up(kind)
    server.count_from_now()
    for kind in KINDS:
        client.sample(kind)
    server.taken()


def _publish(counted: list[Tree], options: argparse.Namespace) -> int:
    ours, before = counted[0], counted[1] if options.against else None
    sys.stdout.write(table(ours, before) + "\n")
    for remark in remarks(counted):
        sys.stdout.write(f"\n{remark}\n")
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
