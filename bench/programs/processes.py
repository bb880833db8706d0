"""Starts the processes that are measured, and reads their CPU time and memory from /proc."""

from __future__ import annotations

import http.client
import os
import signal
import subprocess
import time
import urllib.parse
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from bench.programs.build import CACHE, ROOT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

PROC = Path("/proc")
POLL_SECONDS = 0.002
STOP_SECONDS = 10.0


class StartError(Exception):
    """A process ended, or said nothing, before it was ready."""


@dataclass
class Service:
    """A running process tree.

    Attributes:
        name: what the table calls it.
        addresses: HOST:PORT by name, from the ready line `ready name=HOST:PORT ...`.
        ready_seconds: from the start to the ready line.
    """

    name: str
    process: subprocess.Popen[bytes]
    addresses: dict[str, str] = field(default_factory=dict)
    ready_seconds: float = 0.0

    def pids(self) -> Iterator[int]:
        """Yields the process and all that descend from it."""
        waiting = [self.process.pid]
        while waiting:
            pid = waiting.pop()
            yield pid
            for task in _tasks(pid):
                children = _read(task / "children").split()
                waiting.extend(int(child) for child in children)

    def cpu_us(self) -> float:
        """Returns the CPU time of all threads of the tree so far, in microseconds."""
        return sum(thread.cpu_us for thread in self.threads())

    def threads(self) -> list[Thread]:
        """Returns what each thread of the tree has used so far."""
        return [_thread(task) for pid in self.pids() for task in _tasks(pid)]

    def resident_kib(self) -> int:
        """Returns the resident size (RSS) of the tree, in KiB."""
        return sum(_resident_kib(pid) for pid in self.pids())

    def stop(self) -> None:
        """Asks the process to end, and ends it if it does not."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


@dataclass(frozen=True)
class Thread:
    """What one thread has used so far.

    Attributes:
        key: process and thread id.
        name: as the kernel knows it; `main` for the first of a process.
        cpu_us: time on a core, in microseconds.
        wakeups: how often it went to sleep and was woken.
    """

    key: str
    name: str
    cpu_us: float
    wakeups: int


def start(
    name: str,
    command: Sequence[str],
    extra: Mapping[str, str] | None = None,
    limit_seconds: float = 60.0,
) -> Service:
    """Starts a process and waits for its ready line.

    What it prints goes to files under `.cache/bench/logs`, as a real service's would.

    Raises:
        StartError: no ready line within `limit_seconds`; the end of its stderr is in the message.
    """
    service, begin = _spawn(name, command, extra or {})

    def is_ready() -> bool:
        lines = (CACHE / "logs" / f"{name}.out").read_text(errors="replace").splitlines()
        ready = next((line for line in lines if line.startswith("ready ")), None)
        service.addresses = parse_ready(ready) if ready else {}
        return bool(service.addresses)

    _wait(service, begin, is_ready, limit_seconds)
    return service


def start_http(
    name: str, command: Sequence[str], extra: Mapping[str, str], url: str, limit_seconds: float
) -> Service:
    """Starts a server that prints no ready line, and waits until GET `url` answers 200.

    Raises:
        StartError: it did not within `limit_seconds`.
    """
    service, begin = _spawn(name, command, extra)
    parts = urllib.parse.urlsplit(url)
    service.addresses = {"http": parts.netloc}

    def is_ready() -> bool:
        connection = http.client.HTTPConnection(parts.netloc, timeout=limit_seconds)
        try:
            connection.request("GET", parts.path)
            return connection.getresponse().status == http.HTTPStatus.OK
        except OSError:
            return False
        finally:
            connection.close()

    _wait(service, begin, is_ready, limit_seconds)
    return service


def _spawn(name: str, command: Sequence[str], extra: Mapping[str, str]) -> tuple[Service, float]:
    logs = CACHE / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    with (logs / f"{name}.out").open("wb") as out, (logs / f"{name}.err").open("wb") as err:
        begin = time.perf_counter()
        process = subprocess.Popen(
            list(command),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            cwd=ROOT,
            env=_environment(extra),
        )
    return Service(name, process), begin


def _wait(
    service: Service, begin: float, is_ready: Callable[[], bool], limit_seconds: float
) -> None:
    while time.perf_counter() - begin < limit_seconds and service.process.poll() is None:
        if is_ready():
            service.ready_seconds = time.perf_counter() - begin
            return
        time.sleep(POLL_SECONDS)
    service.stop()
    end = _read(CACHE / "logs" / f"{service.name}.err")[-2000:]
    message = f"{service.name} did not become ready; its stderr ends in:\n{end}"
    raise StartError(message)


def parse_ready(line: str) -> dict[str, str]:
    """Returns the addresses in `ready name=HOST:PORT ...`, by name."""
    pairs = (word.split("=", 1) for word in line.split()[1:] if "=" in word)
    return {pair[0]: pair[1] for pair in pairs}


def _environment(extra: Mapping[str, str]) -> dict[str, str]:
    """Returns this process's environment without what would configure a measured service."""
    own = ("GEMINI_", "OTEL_", "GRPC_", "LITELLM_", "FERRO", "GATEWAY_", "TENSORZERO_", "OPENAI_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(own)}
    return {**kept, **extra}


def _tasks(pid: int) -> list[Path]:
    try:
        return sorted((PROC / str(pid) / "task").iterdir())
    except OSError:
        return []


def _thread(task: Path) -> Thread:
    schedule = _read(task / "schedstat").split() or ["0"]
    status = dict(line.split(":", 1) for line in _read(task / "status").splitlines())
    pid = task.parent.parent.name
    return Thread(
        key=f"{pid}/{task.name}",
        name="main" if task.name == pid else _read(task / "comm").strip(),
        cpu_us=int(schedule[0]) / 1e3,
        wakeups=int(status.get("voluntary_ctxt_switches", "0")),
    )


def _resident_kib(pid: int) -> int:
    for line in _read(PROC / str(pid) / "smaps_rollup").splitlines():
        if line.startswith("Rss:"):
            return int(line.split()[1])
    return 0


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""
