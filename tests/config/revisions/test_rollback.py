"""A random history of changes, reloads, rollbacks and restarts against the rule of precedence."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from gemini_backend.config import RESET, ConfigStore, OriginKind, RevisionFile, Settings, read

PATHS = {
    "retry.max_attempts": "RETRY__MAX_ATTEMPTS",
    "hedge.max_hedges": "HEDGE__MAX_HEDGES",
    "execution.idle_timeout_seconds": "EXECUTION__IDLE_TIMEOUT_SECONDS",
}
PATHS = {path: name for path, name in PATHS.items() if path in read(None, {}).given}
VALUES = st.integers(1, 3)
ONE = st.sampled_from(sorted(PATHS))
STEPS = st.one_of(
    st.tuples(st.just("set"), ONE, VALUES),
    st.tuples(st.just("reset"), ONE, VALUES),
    st.tuples(st.just("source"), ONE, VALUES),
    st.tuples(st.just("rollback"), ONE, VALUES),
    st.tuples(st.just("restart"), ONE, VALUES),
)


class Model:
    """What must be in force: what the sources say, and over it the overrides."""

    def __init__(self) -> None:
        """Have said nothing yet."""
        self.sources: dict[str, int] = {}
        self.overrides: dict[str, int] = {}

    def read(self) -> Settings:
        """Read the sources."""
        names = {f"GEMINI_BACKEND_{PATHS[path]}": str(n) for path, n in self.sources.items()}
        return read(None, names)

    def values(self) -> dict[str, Any]:
        """Return the value of each setting."""
        given = self.read().given
        return {path: self.overrides.get(path, given[path].value) for path in PATHS}


@settings(max_examples=60)
@given(st.lists(STEPS, max_size=12))
def test_any_history_obeys_the_rule(steps: list[tuple[str, str, int]]) -> None:
    """An override outranks each source until it is reset or rolled back, also over restarts."""
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(_run(Path(folder) / "config" / "revisions.jsonl", steps))


async def _run(file: Path, steps: list[tuple[str, str, int]]) -> None:
    model = Model()
    store = ConfigStore(model.read(), kept=RevisionFile(file))
    for kind, path, number in steps:
        if kind == "set":
            if model.values()[path] != number:
                model.overrides[path] = number
            await store.update({path: number})
        elif kind == "reset":
            model.overrides.pop(path, None)
            await store.update({path: RESET})
        elif kind == "source":
            model.sources[path] = number
            await store.reload(model.read())
        elif kind == "rollback":
            former = store.revisions()[min(number, len(store.revisions()) - 1)]
            await store.rollback(former.number)
            was = {path: former.value(path) for path in PATHS}
            given = store.revision.given
            assert was == {path: given[path].value for path in PATHS}
            model.overrides = {
                path: was[path] for path in PATHS if given[path].origin.kind is OriginKind.UPDATE
            }
        else:
            await store.aclose()
            store = ConfigStore(model.read(), kept=RevisionFile(file))
        assert model.values() == {path: store.revision.value(path) for path in PATHS}
    await store.aclose()
