"""How much the rows of an expert count for classes, for its run."""

from __future__ import annotations

import json

import numpy as np

from nnt.classes import spread_of_weights
from nnt.engine import ExpertData
from nnt.judging import Balances
from nnt.tracking import Run

__all__ = ["log_class_weights"]


def log_class_weights(run: Run, data: ExpertData, balances: Balances) -> None:
    """Log what balances the classes of an expert; nothing where it has none.

    Metrics count the training rows of signal and background of each class, and give
    the share of them that would do as well with equal weights. ``class_weights.json``
    holds the weights themselves: of background and of signal, for each bin.
    """
    if data.w_train is None or not balances.of_column:
        return
    first = data.y_train.shape[1] - len(balances.of_column)
    for column, name in enumerate(balances.of_column, first):
        weights = data.w_train[:, column]
        signal = data.y_train[weights > 0, column] > 0
        counts = {
            f"train/{name}_signal_rows": float(np.count_nonzero(signal)),
            f"train/{name}_background_rows": float(np.count_nonzero(~signal)),
            f"train/{name}_effective_share": spread_of_weights(weights),
        }
        run.log_metrics(counts, 0)
    tables = {
        name: {
            "edges": {k: edges.tolist() for k, edges in balance.edges.items()},
            "background": balance.table[0].tolist(),
            "signal": balance.table[1].tolist(),
        }
        for name, balance in balances.of_column.items()
    }
    run.log_text(json.dumps(tables, indent=2) + "\n", "class_weights.json")
