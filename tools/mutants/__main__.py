"""Draws mutants of the listed files and runs each file's own tests: `python -m tools.mutants`.

Needs cosmic-ray, which `make mutants` installs in an environment of its own. Mutants are written
into copies of the tree, never into the tree itself.
"""

from __future__ import annotations

import argparse
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tools.mutants import draw, report
from tools.mutants.trial import Trials

ROOT = Path(__file__).parents[2]
KEPT = ROOT / ".cache" / "mutants"


def main() -> int:
    """Run what was asked for, print a table, write the survivors."""
    asked = _arguments()
    listed = draw.listed(asked.only)
    drawn = draw.drawn(ROOT, listed, asked.per_file)
    ends = time.monotonic() + 60 * asked.minutes
    with Trials(ROOT, KEPT, asked.workers) as trials, ThreadPoolExecutor(asked.workers) as pool:
        for file in listed:
            trials.measure(file)
        waiting = [pool.submit(trials.run, mutant, ends) for mutant in drawn]
        outcomes = [one.result() for one in waiting]
    tried = [one for one in outcomes if one is not None]
    survivors = KEPT / "survivors.diff"
    survivors.write_text("\n".join(one.diff for one in tried if not one.killed))
    sys.stdout.write(report.table(tried))
    sys.stdout.write(f"not tried for want of time: {len(outcomes) - len(tried)}\n")
    sys.stdout.write(f"survivors: {survivors.relative_to(ROOT)}\n")
    return 0 if report.share(tried) >= report.GOAL else 1


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m tools.mutants", description=__doc__)
    parser.add_argument("--per-file", type=int, default=150, help="mutants drawn of each file")
    parser.add_argument("--minutes", type=float, default=60, help="no mutant is begun after these")
    parser.add_argument("--workers", type=int, default=2, help="mutants tried at a time")
    parser.add_argument("--only", default="", help="only files whose path contains this")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
