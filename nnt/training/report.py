"""What a training logs at its end, in floats and in the firmware's integers."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nnt.classes import spread_of_weights
from nnt.config import Config
from nnt.engine import ExpertData
from nnt.errors import ExportError
from nnt.fixedpoint import FixedPointNetworks
from nnt.judging import Balances, FixedPointTable, ScoredTable, by_scope
from nnt.networks import Networks
from nnt.provenance import CodeState
from nnt.sampling import BucketSampler, generator
from nnt.tracking import Run
from nnt.tracks import write_tracks
from nnt.training.result import ExpertResult
from nnt.types import F32
from nnt.version import __version__

if TYPE_CHECKING:  # matplotlib would delay the start of a training
    from nnt.plots import Drawing

__all__ = [
    "drawings_of",
    "fixed_point_drawings",
    "log_class_weights",
    "log_fixed_point",
    "log_predictions",
    "log_sampling",
    "summary",
    "write_json",
]

log = logging.getLogger(__name__)

NAMES = ("fixed point", "floating point")
"""Of the networks in plots."""


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


def drawings_of(
    table: ScoredTable, expert: int | None, description: str
) -> list[Drawing]:
    """Prepare every registered plot of the rows of one expert, or (None) of all."""
    rows = table.rows(expert)
    if not rows.any():
        return []
    from nnt import plots

    shown = table.named_predictions(rows)
    return plots.drawings_of_rows(shown, plots.TRAINING, description)


def log_sampling(run: Run, z_scaled: F32, config: Config, expert: int) -> None:
    """Draw what reweighting makes of the distribution of z, shape (N,)."""
    if config.dist is None:
        return
    from nnt import plots

    rng = generator(config.seed, expert, "plot of the sampling")
    rows = BucketSampler(z_scaled, config.dist).epoch(rng)
    drawn = plots.picture(
        "sampled_distribution", lambda: plots.sampled_distribution(z_scaled, rows)
    )
    if drawn is not None:
        run.log_bytes(drawn, "plots/train/sampled_distribution.png")


def log_predictions(run: Run, split: str, table: ScoredTable) -> None:
    """Write the rows of a split with the outputs of the new networks."""
    path = run.directory / f"{split}.csv.gz"
    write_tracks(table.tracks, path, new=table.networks[table.main], as_read=True)
    run.log_file(path, "predictions")


def summary(
    config: Config,
    code: CodeState,
    digests: Mapping[str, str],
    experts: Mapping[int, ExpertResult],
    tables: Mapping[str, ScoredTable],
) -> dict[str, Any]:
    """All that is worth knowing about a training, as JSON values."""
    found = {
        split: {
            "filtered": by_scope(table, experts),
            "unfiltered": by_scope(table, experts, filtered=False),
        }
        for split, table in tables.items()
    }
    return {
        "nnt_version": __version__,
        "config": config.to_dict(),
        "git": {
            "commit": code.commit,
            "branch": code.branch,
            "dirty": code.is_dirty,
        },
        "data": dict(digests),
        "experts": {str(k): result.to_dict() for k, result in experts.items()},
        "metrics": found,
    }


def write_json(value: object, path: Path) -> Path:
    """Write JSON that a person can read."""
    path.write_text(json.dumps(value, indent=2, default=str) + "\n", encoding="utf-8")
    return path


def fixed_point_drawings(
    both: FixedPointTable, expert: int | None, description: str
) -> list[Drawing]:
    """All plots in integers, and by how much integers and floats differ."""
    rows = both.table.rows(expert)
    if not rows.any():
        return []
    from nnt import plots

    shown = dict(zip(NAMES, both.table.named_predictions(rows).values(), strict=True))
    drawn = plots.drawings_of_rows(shown, plots.TRAINING, description)
    for quantity, (unit, values) in both.differences(rows).items():
        plot = partial(plots.fixed_point_difference, quantity=quantity, unit=unit)
        name = f"{quantity}_difference"
        drawn.append(plots.Drawing(name, plot, values, description))
    return drawn


def log_fixed_point(
    parent: Run,
    children: Mapping[int, Run],
    networks: Networks,
    tables: Mapping[str, ScoredTable],
    draw: Callable[[FixedPointTable, str, str], None],
) -> dict[str, Any]:
    """Log what the firmware makes of the networks of a training.

    Parameters
    ----------
    parent : Run
        Gets the figures over all rows.
    children : mapping of int to Run
        Get the figures of their expert.
    networks : Networks
        As trained.
    tables : mapping of str to ScoredTable
        Splits, judged in floating point.
    draw : callable
        Draws a split, into a folder of the parent; called for the last one.

    Returns
    -------
    dict
        For the summary; says why there are no figures where the firmware cannot
        hold a network.
    """
    try:
        fixed = FixedPointNetworks(networks)
    except ExportError as err:
        log.info("no metrics in fixed point: %s", err)
        return {"none": str(err)}
    found: dict[str, Any] = {"precision": list(fixed.precision)}
    found["hardware"] = _log_hardware(parent, children, fixed)
    runs = {"all": parent} | {f"expert_{k}": children[k] for k in fixed.experts}
    for split, floats in tables.items():
        both, prefix = FixedPointTable(floats, fixed), f"{split}_{fixed.name}"
        found[split] = by_scope(both, fixed.experts)
        for scope, figures in found[split].items():
            # At step 0 MLflow draws bars, to compare runs by.
            named = {f"{prefix}/{name}": value for name, value in figures.items()}
            runs[scope].log_metrics(named, 0)
    draw(both, split, f"plots/{prefix}")
    return found


def _log_hardware(
    parent: Run, children: Mapping[int, Run], fixed: FixedPointNetworks
) -> dict[str, dict[str, float]]:
    """Log what the networks cost in hardware: each expert, and all of them together."""
    costs = {k: dict(cost) for k, cost in fixed.hardware_cost().items()}
    for expert, cost in costs.items():
        children[expert].log_metrics(cost, 0)
    together = fixed.total_hardware_cost()
    parent.log_metrics(together, 0)
    return {"all": together} | {f"expert_{k}": cost for k, cost in costs.items()}
