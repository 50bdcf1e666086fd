"""What an epoch costs as rows, experts and cores grow; it must stay linear.

``python -m bench scaling`` prints, for the compiled loops with validation: CPU time a
row for tables from a thousand rows to millions, then wall and CPU time of an epoch for
one to five experts of the same size, and for the five experts on one core and on all.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial

import numpy as np

from bench._frame import in_turn, least_cpu_s, median, read_options, side_by_side
from nnt import load_config
from nnt.config import Config
from nnt.config.parts import Distribution, Normal
from nnt.detector import N_INPUTS
from nnt.engine import ExpertData, fit
from nnt.sampling import BucketSampler, EpochSampler, Sampler

ROWS = (1_000, 10_000, 100_000, 1_000_000, 4_000_000)
BATCHES = (16, 128, 2048)
EXPERT_ROWS, EXPERT_EPOCHS = 50_000, 10
SAMPLED = 2_000_000


def main() -> None:
    """Print the tables."""
    options = read_options(__doc__, rounds=3, rows=ROWS)
    base = load_config("baseline_v2", overrides={"early_stopping_patience": None})
    _print_rows(base, options.rows, options.rounds)
    _print_experts(base, options.rounds)
    _print_samplers(options.rounds)


def _data(n_rows: int) -> ExpertData:
    """As many rows to validate as to train."""
    rng = np.random.default_rng(0)
    x = rng.random((2 * n_rows, N_INPUTS), np.float32) * 2 - 1
    y = rng.random((2 * n_rows, 2), np.float32) * 2 - 1
    return ExpertData(
        x_train=x[:n_rows], y_train=y[:n_rows], x_val=x[n_rows:], y_val=y[n_rows:]
    )


def _epochs(data: ExpertData, config: Config, expert: int = 0) -> Callable[[], object]:
    return partial(fit, data, config, expert)


def _print_rows(base: Config, sizes: list[int], rounds: int) -> None:
    """Print CPU time a row; two lengths of a training tell it without its start."""
    print("ns of CPU time a row trained, validation of as many rows included")
    print(f"{'rows':>10}" + "".join(f"{f'batch {size}':>12}" for size in BATCHES))
    for n_rows in sizes:
        data = _data(n_rows)
        more = 1 + max(1, 200_000 // n_rows)
        works = {
            f"{size} {epochs}": _epochs(
                data, load_config(base, {"batch_size": size, "epochs": epochs})
            )
            for size in BATCHES
            for epochs in (1, more)
        }
        times = least_cpu_s(works, rounds if n_rows < 1_000_000 else min(rounds, 2))
        print(f"{n_rows:10,}", end="")
        for size in BATCHES:
            taken_s = (times[f"{size} {more}"] - times[f"{size} 1"]) / (more - 1)
            print(f"{taken_s / n_rows * 1e9:12.0f}", end="")
        print(flush=True)


def _print_experts(base: Config, rounds: int) -> None:
    """Print what more experts cost, on one core and on all."""
    data = _data(EXPERT_ROWS)
    config = load_config(base, {"epochs": EXPERT_EPOCHS})
    n_cores = os.cpu_count() or 1
    cases = [(n, n_cores) for n in range(1, 6)] + [(5, n) for n in range(1, n_cores)]
    works = [_epochs(data, config, expert) for expert in range(5)]
    found = in_turn(
        {
            f"{n:8} {jobs:8}": partial(side_by_side, works[:n], jobs)
            for n, jobs in cases
        },
        rounds,
        warm_up=False,
    )
    print(f"\nms an epoch of experts with {EXPERT_ROWS:,} rows each, medians")
    print(f"{'experts':>8} {'threads':>8} {'wall':>8} {'CPU':>8} {'cores busy':>11}")
    for name, times in found.items():
        ms = median(times) * (1e3 / EXPERT_EPOCHS)
        print(f"{name} {ms.wall_s:8.1f} {ms.cpu_s:8.1f} {ms.cpu_s / ms.wall_s:11.2f}")


def _print_samplers(rounds: int) -> None:
    """Print what it takes to draw the rows of an epoch."""
    z_scaled = _data(SAMPLED // 2).y_train[:, 0].repeat(2)
    goal = Distribution(n_buckets=11, norm=Normal(mean=0, std=0.4))
    samplers: dict[str, Sampler] = {
        "every row once": EpochSampler(SAMPLED),
        "reweighted, 11 buckets": BucketSampler(z_scaled, goal.probabilities),
    }
    rng = np.random.default_rng(1)
    works = {n: partial(sampler.epoch, rng) for n, sampler in samplers.items()}
    print(f"\nrows of an epoch of {SAMPLED:,} drawn, CPU time")
    for name, seconds in least_cpu_s(works, rounds).items():
        print(
            f"{name:>24} {seconds * 1e3:6.0f} ms {seconds / SAMPLED * 1e9:5.1f} ns/row"
        )
