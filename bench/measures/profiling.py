"""Shows where the server's time goes: by thread while it runs freely, then by function."""

from __future__ import annotations

import pstats
import sys
import sysconfig
from collections import Counter, defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

from bench.measures.rows import Bench, Row, Series
from bench.programs import BACKEND, CACHE, ROOT, start_backend

if TYPE_CHECKING:
    from bench.programs import Binaries, Service, Thread

FUNCTIONS = 45
PACKAGES = 15
MIN_SHARE = 0.005
Key = tuple[str, int, str]


def profile(row: Row, upstream: Service, binaries: Binaries) -> str:
    """Runs `row` twice, once freely and once under cProfile, and returns what was found.

    The first part is exact. The second is distorted by the profiler, which makes Python calls
    dearer than they are: read its order, not its amounts.
    """
    return f"{_by_thread(row, upstream, binaries)}\n\n{_by_function(row, upstream, binaries)}"


def _by_thread(row: Row, upstream: Service, binaries: Binaries) -> str:
    service = BACKEND.start(upstream.addresses["upstream"])
    try:
        bench = Bench(BACKEND, service, upstream, binaries.load)
        bench.warm_up(row)
        before = {thread.key: thread for thread in service.threads()}
        bench.measure(row, 1.0, Series())
        after = service.threads()
    finally:
        service.stop()
    return f"{row.key}, by thread, for one exchange\n" + "\n".join(
        _thread_lines(before, after, row.plan.total)
    )


def _thread_lines(before: dict[str, Thread], after: list[Thread], total: int) -> list[str]:
    spent: Counter[str] = Counter()
    woken: Counter[str] = Counter()
    for thread in after:
        old = before.get(thread.key)
        spent[thread.name] += round((thread.cpu_us - (old.cpu_us if old else 0)) * 1000)
        woken[thread.name] += thread.wakeups - (old.wakeups if old else 0)
    whole = sum(spent.values()) or 1
    return [
        f"{spent[name] / total / 1e3:10.1f} µs {woken[name] / total:8.1f} wake-ups  {name}"
        for name in sorted(spent, key=lambda name: -spent[name])
        if spent[name] / whole > MIN_SHARE
    ]


def _by_function(row: Row, upstream: Service, binaries: Binaries) -> str:
    idle = _profiled(upstream, None, binaries)
    busy = _profiled(upstream, row, binaries)
    own = Counter({key: spent - idle.get(key, (0, 0.0))[1] for key, (_, spent) in busy.items()})
    calls = {key: count - idle.get(key, (0, 0.0))[0] for key, (count, _) in busy.items()}
    outside = sum(own.pop(key) for key in list(own) if key[2] == "run" and "runners" in key[0])
    packages: defaultdict[str, float] = defaultdict(float)
    for key, seconds in own.items():
        packages[_package(key)] += seconds
    whole = sum(own.values()) or 1.0
    ranked = sorted(packages.items(), key=lambda item: -item[1])[:PACKAGES]
    lines = [
        f"{row.key}, Python code of the main thread under cProfile: shares of {whole:.2f} s;",
        f"{outside:.2f} s more were spent in gRPC's and uvloop's C code, and waiting",
    ]
    lines += [f"{seconds / whole:7.1%}  {name}" for name, seconds in ranked]
    lines.append("own time by function (calls)")
    for key, seconds in own.most_common(FUNCTIONS):
        path, line, name = key
        where = f"{_short(path)}:{line}" if line else ""
        lines.append(f"{seconds / whole:7.1%} {calls[key]:>8}  {name} {where}".rstrip())
    return "\n".join(lines)


def _profiled(
    upstream: Service, row: Row | None, binaries: Binaries
) -> dict[Key, tuple[int, float]]:
    """Returns calls and own seconds by function, of a server that served `row`, or only started."""
    out = CACHE / f"profile-{row.key if row else 'start'}.pstats"
    out.unlink(missing_ok=True)
    wrapper = (sys.executable, "-m", "cProfile", "-o", str(out))
    service = start_backend(upstream.addresses["upstream"], wrapper)
    try:
        if row is not None:
            Bench(BACKEND, service, upstream, binaries.load).measure(row, 1.0, Series())
    finally:
        service.stop()
    # pstats has no public access to its table, and no type for it.
    table: dict[Key, tuple[int, int, float, float, object]] = vars(pstats.Stats(str(out)))["stats"]
    return {key: (entry[1], entry[2]) for key, entry in table.items()}


def _short(path: str) -> str:
    for base in (sysconfig.get_path("purelib"), sysconfig.get_path("stdlib"), str(ROOT)):
        if path.startswith(base):
            return path[len(base) + 1 :]
    return Path(path).name


def _package(key: Key) -> str:
    path, line, name = key
    if not line:
        return f"(built in) {name.split('.')[0].strip('<{')[:60]}"
    parts = Path(_short(path)).parts
    return "/".join(parts[:3]) if parts[0] in {"server", "clients"} else parts[0]
