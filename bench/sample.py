"""Drawing of epochs, bucket reweighting in an epoch, and filters of large tables.

``python -m bench sample`` prints the time to draw an epoch of 2 M rows in 11 buckets
by NNT and by other means, what reweighting adds to an epoch of the compiled loops,
and how long filters take on 10 M rows: measured in turn, medians of several rounds.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import torch

from bench._loops import OURS
from bench._rows import SIMULATED, experts_of
from nnt import filters, load_config
from nnt.config import Config
from nnt.sampling import (
    BucketSampler,
    Distribution,
    EpochSampler,
    Uniform,
    bucket_probabilities,
)
from nnt.tracks import Tracks, make_ids

ROWS, FILTER_ROWS, PER_ROW = 2_000_000, 10_000_000, 20_000
EPOCHS = 10
DISTRIBUTION = Distribution(n_buckets=11, uniform=Uniform(lower=-0.6, upper=0.6))
FILTERS = (
    "ExpertFilter(1)",
    "RangeFilter('RecoZ', -0.5, 0.5)",
    "Max2EventsFilter()",
    "DuplicateEventsFilter()",
    "ConCatFilter([Max2EventsFilter(), DuplicateEventsFilter()])",
)

Times = tuple[float, float]
Work = Callable[[], object]


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(prog="python -m bench sample")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--filter-rows", type=int, default=FILTER_ROWS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(f"medians of {options.rounds} rounds: wall s (CPU s), times the first's")
    _print_draws(options.rows, options.rounds)
    _print_epochs(options.rounds)
    _print_filters(options.filter_rows, options.rounds)


def _in_turn(works: dict[str, Work], rounds: int) -> dict[str, Times]:
    """Median wall and CPU time of each, after one run that is not counted."""
    timed: dict[str, list[Times]] = {name: [] for name in works}
    for number in range(rounds + 1):
        for name, work in works.items():
            wall, cpu = time.perf_counter(), time.process_time()
            work()
            times = time.perf_counter() - wall, time.process_time() - cpu
            if number:
                timed[name].append(times)
    return {
        name: (
            statistics.median(wall for wall, _ in times),
            statistics.median(cpu for _, cpu in times),
        )
        for name, times in timed.items()
    }


def _print_times(timed: dict[str, Times]) -> None:
    first_wall, first_cpu = next(iter(timed.values()))
    for name, (wall, cpu) in timed.items():
        print(f"  {name:60} {wall:9.3f} ({cpu:.3f})  {wall / first_wall:8.2f} "
              f"({cpu / first_cpu:.2f})")  # fmt: skip


def _print_draws(n_rows: int, rounds: int) -> None:
    rng = np.random.default_rng(1)
    z_scaled = np.clip(rng.normal(0, 0.3, n_rows), -1, 1).astype(np.float32)
    buckets = BucketSampler(z_scaled, DISTRIBUTION)
    bucket = np.clip((z_scaled + 1) / 2 * 11, 0, 10).astype(np.int64)
    count = np.bincount(bucket, minlength=11)
    weights = (bucket_probabilities(DISTRIBUTION) / count)[bucket]
    weights /= weights.sum()
    rows_of = [np.flatnonzero(bucket == i) for i in range(11)]
    share = bucket_probabilities(DISTRIBUTION)

    def one_by_one() -> None:
        for _ in range(PER_ROW):
            rng.choice(rows_of[rng.choice(11, p=share)])

    works: dict[str, Work] = {
        "NNT, buckets": lambda: buckets.epoch(rng),
        "NNT, every row once": lambda: EpochSampler(n_rows).epoch(rng),
        "numpy.choice with weights": lambda: rng.choice(n_rows, n_rows, p=weights),
    }
    if n_rows < 1 << 24:
        tensor = torch.from_numpy(weights)
        works["torch.multinomial (WeightedRandomSampler)"] = lambda: torch.multinomial(
            tensor, n_rows, replacement=True
        )
    print(f"\nan epoch of {n_rows:,} rows, 11 buckets")
    timed = _in_turn(works, rounds)
    factor = n_rows / PER_ROW
    row = _in_turn({"row": one_by_one}, 1)["row"]
    timed[f"a row at a time (~, from {PER_ROW:,})"] = row[0] * factor, row[1] * factor
    _print_times(timed)


def _print_epochs(rounds: int) -> None:
    plain = load_config(
        "baseline_v2", overrides={"epochs": EPOCHS, "early_stopping_patience": None}
    )
    reweighted = load_config(plain, {"dist": DISTRIBUTION})
    rows = experts_of(SIMULATED)
    train = next(loop for name, loop in OURS.items() if "compiled" in name)

    def epochs(config: Config) -> None:
        with ThreadPoolExecutor() as pool:
            done = [
                pool.submit(train, rows[k], config, k, lambda _: False) for k in rows
            ]
            for future in done:
                future.result()

    print(f"\n{EPOCHS} epochs of five experts, {SIMULATED:,} rows, validation included")
    _print_times(
        _in_turn(
            {
                "plain": lambda: epochs(plain),
                "reweighted": lambda: epochs(reweighted),
            },
            rounds,
        )
    )


def _print_filters(n_rows: int, rounds: int) -> None:
    rng = np.random.default_rng(2)
    event = np.repeat(np.arange(n_rows), rng.integers(1, 7, n_rows))[:n_rows]
    targets = rng.uniform(-1, 1, (n_rows // 2 + 1, 2)).astype(np.float32)
    tracks = Tracks(
        ids=make_ids(
            {
                "Experiment": np.full(n_rows, 20),
                "Run": event // 20_000,
                "Event": event,
                "Expert": rng.integers(0, 5, n_rows),
            },
            n_rows,
        ),
        inputs=np.broadcast_to(np.zeros(27, np.float32), (n_rows, 27)),
        targets=np.repeat(targets, 2, axis=0)[:n_rows],
    )
    print(f"\nfilters, {n_rows:,} rows")
    masks = {text: filters.parse(text) for text in FILTERS}
    _print_times(
        _in_turn({t: partial(m, tracks) for t, m in masks.items()}, min(rounds, 3))
    )


if __name__ == "__main__":
    main()
