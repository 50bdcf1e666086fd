"""Rows of the benchmarks: simulated tracks, repeated where more are asked for."""

from __future__ import annotations

import numpy as np

from nnt.config import load_config
from nnt.detector import EXPERTS
from nnt.engine import ExpertData
from nnt.judging import Balances, expert_mask
from nnt.simulation import simulate
from nnt.tracks import Tracks, split_by_event
from nnt.training.borrowing import expert_data
from nnt.training.data import SPLITS

__all__ = ["SIMULATED", "experts_of", "rows_to_train"]

SIMULATED = 200_000
"""Tracks that are simulated; larger tables repeat them at other addresses."""


def experts_of(n_rows: int) -> dict[int, ExpertData]:
    """Rows of every expert of a data set, a third of it each to train and validate.

    Parameters
    ----------
    n_rows : int
        Rows of the whole data set, as a file would hold them.
    """
    tracks = simulate(SIMULATED, seed=1)
    few = tracks[np.arange(min(n_rows, SIMULATED))]
    splits = _thirds(few)
    repeats = -(-n_rows // SIMULATED)
    data, config = {}, load_config("baseline_v2")
    for expert in EXPERTS:
        own = {k: table[expert_mask(table, expert)] for k, table in splits.items()}
        data[expert] = _repeated(
            expert_data(own["train"], own["val"], config, Balances()), repeats
        )
    return data


def _thirds(tracks: Tracks) -> dict[str, Tracks]:
    parts = split_by_event(tracks, (1 / 3, 1 / 3, 1 / 3), seed=1)
    return dict(zip(SPLITS, parts, strict=True))


def _repeated(data: ExpertData, times: int) -> ExpertData:
    return ExpertData(
        x_train=np.tile(data.x_train, (times, 1)),
        y_train=np.tile(data.y_train, (times, 1)),
        x_val=np.tile(data.x_val, (times, 1)),
        y_val=np.tile(data.y_val, (times, 1)),
    )


def rows_to_train(data: dict[int, ExpertData]) -> int:
    """Training rows of all experts."""
    return sum(len(own.x_train) for own in data.values())
