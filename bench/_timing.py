"""How the benchmarks measure: in turn, several rounds, by CPU time."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

__all__ = ["in_turn", "side_by_side"]


def in_turn(
    works: Mapping[str, Callable[[], object]], rounds: int, least_s: float = 0.02
) -> dict[str, float]:
    """CPU seconds of one call of each, the least of several rounds.

    All are called once beforehand, and each as often in a round as takes `least_s`.
    Other programs on the machine can only add to CPU time, so the least is the truest.
    """
    calls = {}
    for name, work in works.items():
        work()
        calls[name] = max(1, int(least_s / max(_cpu_s(work, 1), 1e-9)))
    times: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(rounds):
        for name, work in works.items():
            times[name].append(_cpu_s(work, calls[name]))
    return {name: float(np.min(found)) for name, found in times.items()}


def _cpu_s(work: Callable[[], object], calls: int) -> float:
    start = time.thread_time()
    for _ in range(calls):
        work()
    return (time.thread_time() - start) / calls


def side_by_side(
    works: Sequence[Callable[[], object]], jobs: int
) -> tuple[float, float]:
    """Wall and CPU seconds of all, in so many threads."""
    wall, cpu = time.perf_counter(), time.process_time()
    with ThreadPoolExecutor(jobs) as pool:
        for future in [pool.submit(work) for work in works]:
            future.result()
    return time.perf_counter() - wall, time.process_time() - cpu
