"""The artifacts at the end of a training."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nnt.classes import spread_of_weights
from nnt.config import Config
from nnt.engine import ExpertData
from nnt.judging import Balances, ScoredTable
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
    "log_class_weights",
    "log_predictions",
    "log_sampling",
    "summary",
    "write_json",
]


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
            "filtered": _metrics(table, experts, filtered=True),
            "unfiltered": _metrics(table, experts, filtered=False),
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


def _metrics(
    table: ScoredTable, experts: Mapping[int, ExpertResult], *, filtered: bool
) -> dict[str, dict[str, float]]:
    every: dict[str, dict[str, float]] = {"all": table.metrics(filtered=filtered)}
    for expert in experts:
        every[f"expert_{expert}"] = table.metrics(expert, filtered=filtered)
    return every


def write_json(value: object, path: Path) -> Path:
    """Write JSON that a person can read."""
    path.write_text(json.dumps(value, indent=2, default=str) + "\n", encoding="utf-8")
    return path
