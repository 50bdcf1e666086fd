"""Drawing of epochs, bucket reweighting in an epoch, and filters of large tables.

``python -m bench sample`` prints the time to draw an epoch of 2 M rows in 11 buckets
by NNT and by other means, what reweighting adds to an epoch of the compiled loops,
and how long filters take on 10 M rows: measured in turn, medians of several rounds.
"""

from __future__ import annotations

from functools import partial

import numpy as np
import torch

from bench._frame import (
    Times,
    Work,
    read_options,
    side_by_side,
    timed,
    timed_in_turn,
)
from bench._loops import OURS
from bench._rows import SIMULATED, experts_of
from nnt import filters, load_config
from nnt.config import Config
from nnt.config.parts import Distribution, Uniform
from nnt.sampling import BucketSampler, EpochSampler
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


def main() -> None:
    """Print the tables."""
    options = read_options(__doc__, rounds=5, rows=ROWS, filter_rows=FILTER_ROWS)
    torch.set_num_threads(1)
    print(f"medians of {options.rounds} rounds: wall s (CPU s), times the first's")
    _print_draws(options.rows, options.rounds)
    _print_epochs(options.rounds)
    _print_filters(options.filter_rows, options.rounds)


def _print_times(found: dict[str, Times]) -> None:
    first = next(iter(found.values()))
    for name, times in found.items():
        print(f"  {name:60} {times}  {times.over(first)}")


def _print_draws(n_rows: int, rounds: int) -> None:
    rng = np.random.default_rng(1)
    z_scaled = np.clip(rng.normal(0, 0.3, n_rows), -1, 1).astype(np.float32)
    buckets = BucketSampler(z_scaled, DISTRIBUTION.probabilities)
    bucket = np.clip((z_scaled + 1) / 2 * 11, 0, 10).astype(np.int64)
    count = np.bincount(bucket, minlength=11)
    weights = (DISTRIBUTION.probabilities / count)[bucket]
    weights /= weights.sum()
    rows_of = [np.flatnonzero(bucket == i) for i in range(11)]
    share = DISTRIBUTION.probabilities

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
    found = timed_in_turn(works, rounds)
    by_row = timed(one_by_one) * (n_rows / PER_ROW)
    _print_times(found | {f"a row at a time (~, from {PER_ROW:,})": by_row})


def _print_epochs(rounds: int) -> None:
    plain = load_config(
        "baseline_v2", overrides={"epochs": EPOCHS, "early_stopping_patience": None}
    )
    reweighted = load_config(plain, {"dist": DISTRIBUTION})
    rows = experts_of(SIMULATED)
    train = next(loop for name, loop in OURS.items() if "compiled" in name)

    def epochs(config: Config) -> None:
        works = [partial(train, rows[k], config, k, lambda _: False) for k in rows]
        side_by_side(works, None)

    print(f"\n{EPOCHS} epochs of five experts, {SIMULATED:,} rows, validation included")
    both = {"plain": partial(epochs, plain), "reweighted": partial(epochs, reweighted)}
    _print_times(timed_in_turn(both, rounds))


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
    works = {text: partial(mask, tracks) for text, mask in masks.items()}
    _print_times(timed_in_turn(works, min(rounds, 3)))
