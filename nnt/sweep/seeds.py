"""How much of a difference between trials is the seed: repeats, and their spread.

Where `seed` is in the space, the last trials of a sweep repeat its best configuration
with other seeds: the best of many trials is also the luckiest one.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from nnt.sweep.record import Trial
from nnt.sweep.space import Dimension, Space

SEED = "seed"
REPEATS = "nnt.repeats"
"""Attribute of a trial that repeats another one: the number of that."""
MAX_REPEATS, TRIALS_EACH = 4, 10
"""One repeat for every ten trials, at most four."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Spread:
    """Standard deviation of a metric between trials that differ in their seed alone."""

    std: float
    n_trials: int
    n_configurations: int
    """That were trained with several seeds."""


def n_repeats(space: Space, sampler: str, n_trials: int) -> int:
    """How many of the trials of a sweep repeat its best one; a grid holds them all."""
    if SEED not in space.dimensions or sampler == "grid":
        return 0
    return min(MAX_REPEATS, n_trials // TRIALS_EACH)


def next_seed(best: Trial, trials: Sequence[Trial], space: Space) -> Any | None:
    """Find a seed that the configuration of the best trial has not had; None: none."""
    tried = {t.suggested[SEED] for t in same_but_for_seed(best, trials)}
    free = (s for s in _seeds(space.dimensions[SEED]) if s not in tried)
    return next(free, None)


def _seeds(dimension: Dimension) -> Iterator[Any]:
    if dimension.kind == "choice":
        yield from dimension.labels
    else:
        yield from range(int(dimension.low), int(dimension.high) + 1)


def same_but_for_seed(trial: Trial, trials: Sequence[Trial]) -> list[Trial]:
    """Trials of the same configuration, itself included, whatever their seed."""
    return [t for t in trials if _without_seed(t) == _without_seed(trial)]


def _without_seed(trial: Trial) -> Mapping[str, Any]:
    return {key: value for key, value in trial.suggested.items() if key != SEED}


def spread(trials: Sequence[Trial], space: Space, metric: int) -> Spread | None:
    """Compute the spread of a metric over seeds, all configurations together.

    Parameters
    ----------
    trials : sequence of Trial
        Of the sweep.
    space : Space
        What was varied.
    metric : int
        Which of the metrics of the search.

    Returns
    -------
    Spread or None
        None where no two complete trials differ in their seed alone.
    """
    if SEED not in space.dimensions:
        return None
    groups: dict[str, list[float]] = {}
    for trial in trials:
        if trial.state == "complete":
            key = repr(sorted(_without_seed(trial).items()))
            groups.setdefault(key, []).append(trial.values[metric])
    repeated = [group for group in groups.values() if len(group) > 1]
    if not repeated:
        return None
    squares = 0.0
    for group in repeated:
        mean = sum(group) / len(group)
        squares += sum((value - mean) ** 2 for value in group)
    n_trials = sum(map(len, repeated))
    return Spread(
        std=math.sqrt(squares / (n_trials - len(repeated))),
        n_trials=n_trials,
        n_configurations=len(repeated),
    )
