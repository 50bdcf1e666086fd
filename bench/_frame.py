"""What benchmarks share: options, directories, clocks, processes, MLflow servers."""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

REPOSITORY = Path(__file__).parents[1]
SAMPLE = REPOSITORY.parent / "shared" / "data" / "belle2_exp20_sample.gz"
"""Real rows of experiment 20, where they are at hand."""
WAIT_S = 600.0

T = TypeVar("T")
Work = Callable[[], object]


def read_options(about: str | None, **defaults: Any) -> argparse.Namespace:
    """Read the options of a benchmark.

    The default of each tells its kind: False is a flag, a type an option that may be
    left out, a list takes several values, and so does a mapping, which names all that
    can be chosen.
    """
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=about, formatter_class=form)
    for name, default in defaults.items():
        kind: dict[str, Any] = {"type": type(default), "default": default}
        if default is False:
            kind = {"action": "store_true"}
        elif isinstance(default, type):
            kind = {"type": default}
        elif isinstance(default, Mapping):
            kind = {"nargs": "+", "choices": [*default], "default": [*default]}
        elif isinstance(default, list | tuple):
            of = type(default[0]) if default else str
            kind = {"nargs": "*", "type": of, "default": [*default]}
        parser.add_argument(f"--{name.replace('_', '-')}", **kind)
    return parser.parse_args()


@contextmanager
def new_directory() -> Iterator[Path]:
    """Work in a directory that is removed at the end."""
    before = Path.cwd()
    with tempfile.TemporaryDirectory() as place:
        os.chdir(place)
        try:
            yield Path(place)
        finally:
            os.chdir(before)


@contextmanager
def kept_where_it_fails(name: str) -> Iterator[Path]:
    """Make a directory that stays, for a look at it, if the benchmark fails."""
    work = Path(tempfile.mkdtemp(prefix=f"nnt-{name}-"))
    try:
        yield work
    except BaseException:
        print(f"all files are in {work}", file=sys.stderr)
        raise
    shutil.rmtree(work)


@dataclass(frozen=True)
class Times:
    """What something took."""

    wall_s: float
    cpu_s: float

    def __mul__(self, factor: float) -> Times:
        return Times(self.wall_s * factor, self.cpu_s * factor)

    def over(self, other: Times, digits: int = 2) -> str:
        """Ratios of the times to others."""
        walls, cpus = self.wall_s / other.wall_s, self.cpu_s / other.cpu_s
        return f"{walls:.{digits}f} ({cpus:.{digits}f})"

    def __str__(self) -> str:
        return f"{self.wall_s:.3f} ({self.cpu_s:.3f})"

    @classmethod
    def since(cls, start: Times) -> Times:
        """Times from a moment, which `now` has given, to this one."""
        end = cls.now()
        return cls(end.wall_s - start.wall_s, end.cpu_s - start.cpu_s)

    @classmethod
    def now(cls) -> Times:
        """Readings of both clocks; the CPU time counts processes that have ended."""
        used = os.times()
        cpu_s = time.process_time() + used.children_user + used.children_system
        return cls(time.perf_counter(), cpu_s)


def timed(work: Work) -> Times:
    """Call it and tell what it took."""
    start = Times.now()
    work()
    return Times.since(start)


def median(times: Iterable[Times]) -> Times:
    """Medians by either clock."""
    found = list(times)
    return Times(
        statistics.median(t.wall_s for t in found),
        statistics.median(t.cpu_s for t in found),
    )


def in_turn(
    works: Mapping[str, Callable[[], T]], rounds: int, *, warm_up: bool = True
) -> dict[str, list[T]]:
    """Call all in turn, round by round, after one round that does not count."""
    found: dict[str, list[T]] = {name: [] for name in works}
    for number in range(-warm_up, rounds):
        for name, work in works.items():
            result = work()
            if number >= 0:
                found[name].append(result)
    return found


def timed_in_turn(works: Mapping[str, Work], rounds: int) -> dict[str, Times]:
    """Medians of what each takes."""
    clocked = {name: (lambda work=work: timed(work)) for name, work in works.items()}
    return {name: median(times) for name, times in in_turn(clocked, rounds).items()}


def least_cpu_s(
    works: Mapping[str, Work], rounds: int, least_s: float = 0.02
) -> dict[str, float]:
    """CPU seconds of one call of each, the least of several rounds.

    Each is called as often in a round as takes `least_s`. Other programs on the machine
    can only add to CPU time, so the least is the truest.
    """

    def cpu_s(work: Work, calls: int) -> float:
        start = time.thread_time()
        for _ in range(calls):
            work()
        return (time.thread_time() - start) / calls

    def measure(work: Work) -> Callable[[], float]:
        work()
        calls = max(1, int(least_s / max(cpu_s(work, 1), 1e-9)))
        return lambda: cpu_s(work, calls)

    measured = {name: measure(work) for name, work in works.items()}
    found = in_turn(measured, rounds, warm_up=False)
    return {name: min(times) for name, times in found.items()}


def side_by_side(works: Sequence[Work], jobs: int | None) -> Times:
    """Times of all, in so many threads."""
    start = Times.now()
    with ThreadPoolExecutor(jobs) as pool:
        for future in [pool.submit(work) for work in works]:
            future.result()
    return Times.since(start)


def environment(uri: str | None = None) -> dict[str, str]:
    """Variables of a process: those of the benchmark, but for MLflow's own."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("MLFLOW_")}
    paths = [str(REPOSITORY), kept.get("PYTHONPATH", "")]
    kept["PYTHONPATH"] = os.pathsep.join(path for path in paths if path)
    return kept | ({"MLFLOW_TRACKING_URI": uri} if uri else {})


def nnt_command(*words: str) -> list[str]:
    """Words of a command line of NNT."""
    return [sys.executable, "-m", "nnt", *words]


def kill_group(process: subprocess.Popen[Any]) -> None:
    """End a process that began a session, with all others of it."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def free_port() -> int:
    """Port on which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Server:
    """A real ``mlflow server`` on a port of its own, which can go and come back."""

    def __init__(self, home: Path, database: str = "server.db") -> None:
        self.home = home
        self.database = home / database
        self.port = free_port()
        self.uri = f"http://127.0.0.1:{self.port}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> Server:
        """Start it and wait until it answers."""
        command = [
            sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1",
            "--port", str(self.port), "--workers", "1",
            "--backend-store-uri", f"sqlite:///{self.database}",
            "--artifacts-destination", str(self.home / "kept"),
        ]  # fmt: skip
        settings = environment() | {
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
            "MLFLOW_DISABLE_TELEMETRY": "true",
        }
        with (self.home / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                command, env=settings, stdout=log, stderr=log, start_new_session=True
            )
        end = time.monotonic() + WAIT_S
        while time.monotonic() < end and self._process.poll() is None:
            with suppress(OSError), urllib.request.urlopen(f"{self.uri}/health"):
                return self
            time.sleep(0.3)
        raise RuntimeError(f"mlflow server did not start; see {self.home}/server.log")

    def stop(self) -> None:
        """End it at once, with all its workers."""
        if self._process is not None:
            kill_group(self._process)

    def __enter__(self) -> Server:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()
