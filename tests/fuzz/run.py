"""Fuzzes one target: `python -m tests.fuzz.run TARGET MINUTES`, by `make fuzz`.

Runs in an environment of its own, which has atheris beside all that tests have.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import atheris

CORPUS = Path(__file__).parent / "corpus"
FOUND = Path(".cache/fuzz")
_LONGEST = 4096
# A call that takes longer is a finding, as one that needs more memory is.
_SECONDS, _MEGABYTES = 30, 2048


def main() -> None:
    """Fuzz for as long as was asked; libFuzzer exits with 77 for a finding."""
    target, minutes = sys.argv[1], float(sys.argv[2])
    with atheris.instrument_imports(include=["gemini_backend", "tests.fuzz.targets"]):
        from tests.fuzz.targets import check_of  # noqa: PLC0415 - instrumented as it is imported

        check = check_of(target)
    fresh = FOUND / target
    fresh.mkdir(parents=True, exist_ok=True)
    arguments = [
        sys.argv[0],
        f"-max_total_time={minutes * 60:.0f}",
        f"-max_len={_LONGEST}",
        f"-timeout={_SECONDS}",
        f"-rss_limit_mb={_MEGABYTES}",
        f"-artifact_prefix={fresh}{os.sep}",
        str(fresh),
        str(CORPUS / target),
    ]
    atheris.Setup(arguments, check)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
