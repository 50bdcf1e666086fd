"""Rows of the benchmarks, and networks that are fitted to them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from nnt.config import load_config
from nnt.detector import EXPERTS
from nnt.engine import ExpertData, fit
from nnt.judging import served_rows
from nnt.networks import State
from nnt.simulation import simulate
from nnt.tracks import split_by_event
from nnt.training.rows import expert_data

SIMULATED = 200_000
"""Tracks that are simulated; larger tables repeat them at other addresses."""


def experts_of(n_rows: int) -> dict[int, ExpertData]:
    """Rows of every expert of a data set, a third of it each to train and validate.

    Parameters
    ----------
    n_rows : int
        Rows of the whole data set, as a file would hold them.
    """
    few = simulate(SIMULATED, seed=1)[: min(n_rows, SIMULATED)]
    train, val, _ = split_by_event(few, (1 / 3, 1 / 3, 1 / 3), seed=1)
    repeats = (-(-n_rows // SIMULATED), 1)
    data, config = {}, load_config("baseline_v2")
    for expert in EXPERTS:
        own = expert_data(
            train[served_rows(train, [expert])],
            val[served_rows(val, [expert])],
            config,
            {},
        )
        data[expert] = ExpertData(
            x_train=np.tile(own.x_train, repeats),
            y_train=np.tile(own.y_train, repeats),
            x_val=np.tile(own.x_val, repeats),
            y_val=np.tile(own.y_val, repeats),
        )
    return data


def fitted(
    rows: ExpertData, overrides: Mapping[str, object], initial: State | None = None
) -> State:
    """Weights of the firmware's network, fitted without an early end."""
    keys = {"early_stopping_patience": None, **overrides}
    return fit(rows, load_config("baseline_v2", keys), 0, initial=initial).state


def rows_to_train(data: dict[int, ExpertData]) -> int:
    """Training rows of all experts."""
    return sum(len(own.x_train) for own in data.values())
