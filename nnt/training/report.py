"""The figures and artifacts at the end of a training."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nnt import __version__, metrics
from nnt.config import Config
from nnt.engine import ExpertData
from nnt.fixedpoint import FixedPointNetworks
from nnt.networks import Networks
from nnt.provenance import CodeState
from nnt.sampling import BucketSampler, generator
from nnt.tracking import Run
from nnt.tracks import Tracks, write_tracks
from nnt.training.data import expert_mask, served_rows
from nnt.training.result import ExpertResult
from nnt.types import F32, BoolArray

if TYPE_CHECKING:  # matplotlib would delay the start of a training
    from nnt.plots import Drawing

__all__ = [
    "Judged",
    "drawings_of",
    "log_predictions",
    "log_sampling",
    "summary",
    "write_json",
]


class Judged:
    """One split with what the trained experts say about its rows.

    Parameters
    ----------
    tracks : Tracks
        All rows of the split.
    kept : bool array, shape (N,)
        Rows that pass the filter.
    networks : Networks
        The trained experts; rows of an expert that failed are left out.
    loss : str
        Name of the loss over the rows of all experts.
    own_losses : mapping of int to str, optional
        That of each expert, where it is another one.
    reference : float32 array, shape (N, 1) or (N, 2), optional
        Outputs of the networks to compare with, in network units.
    """

    def __init__(
        self,
        tracks: Tracks,
        kept: BoolArray,
        networks: Networks | FixedPointNetworks,
        loss: str,
        own_losses: Mapping[int, str] | None = None,
        reference: F32 | None = None,
    ) -> None:
        served = served_rows(tracks, networks.experts)
        self.tracks = tracks if served.all() else tracks[served]
        self.kept = kept[served]
        self.reference = None if reference is None else reference[served]
        self.output = networks.predict(self.tracks)
        self.loss = loss
        self.own_losses = dict(own_losses or {})
        self._predictions = metrics.predictions(
            self.tracks, self.output, self.reference
        )
        self._metrics: dict[tuple[int | None, bool], dict[str, float]] = {}

    def rows(self, expert: int | None, *, filtered: bool = True) -> BoolArray:
        """Rows of one expert, or (None) of all."""
        mask = self.kept if filtered else np.ones(len(self.tracks), dtype=np.bool_)
        return mask if expert is None else mask & expert_mask(self.tracks, expert)

    def predictions(self, rows: BoolArray) -> metrics.Predictions:
        """What `nnt.metrics` and `nnt.plots` need to know of some rows."""
        return self._predictions[rows]

    def metrics(
        self, expert: int | None = None, *, filtered: bool = True
    ) -> dict[str, float]:
        """Losses and physics figures, by the names of the tracked metrics."""
        # A filter that keeps all rows makes no difference.
        key = expert, filtered and not self.kept.all()
        if key not in self._metrics:
            rows = self.rows(expert, filtered=filtered)
            self._metrics[key] = self._compute(expert, rows)
        return dict(self._metrics[key])

    def _compute(self, expert: int | None, rows: BoolArray) -> dict[str, float]:
        if not rows.any():
            return {}
        output = self.output[rows]
        targets = self.tracks.targets[rows, : output.shape[1]]
        name = self.loss if expert is None else self.own_losses.get(expert, self.loss)
        result = {"loss": metrics.loss(name, output, targets)}
        if self.reference is not None:
            reference = self.reference[rows, : output.shape[1]]
            result["loss_reference"] = metrics.loss(name, reference, targets)
            if result["loss_reference"] > 0:
                result["loss_vs_reference"] = result["loss"] / result["loss_reference"]
        return result | metrics.summary(self.predictions(rows))


def drawings_of(judged: Judged, expert: int | None, description: str) -> list[Drawing]:
    """Prepare every registered plot of the rows of one expert, or (None) of all."""
    rows = judged.rows(expert)
    if not rows.any():
        return []
    from nnt import plots

    shown = judged.predictions(rows)
    return plots.drawings_of_rows(shown, plots.TRAINING, description)


def log_sampling(run: Run, data: ExpertData, config: Config, expert: int) -> None:
    """Draw what reweighting makes of the distribution of z."""
    if config.dist is None:
        return
    from nnt import plots

    z_scaled = data.y_train[:, 0]
    rng = generator(config.seed, expert, "plot of the sampling")
    rows = BucketSampler(z_scaled, config.dist).epoch(rng)
    drawn = plots.picture(
        "sampled_distribution", lambda: plots.sampled_distribution(z_scaled, rows)
    )
    if drawn is not None:
        run.log_bytes(drawn, "plots/train/sampled_distribution.png")


def log_predictions(run: Run, split: str, judged: Judged) -> None:
    """Write the rows of a split with the outputs of the new networks."""
    path = run.directory / f"{split}.csv.gz"
    write_tracks(judged.tracks, path, new=judged.output)
    run.log_file(path, "predictions")


def summary(
    config: Config,
    code: CodeState,
    digests: Mapping[str, str],
    experts: Mapping[int, ExpertResult],
    judged: Mapping[str, Judged],
) -> dict[str, Any]:
    """All that is worth knowing about a training, as JSON values."""
    figures = {
        split: {
            "filtered": _figures(view, experts, filtered=True),
            "unfiltered": _figures(view, experts, filtered=False),
        }
        for split, view in judged.items()
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
        "metrics": figures,
    }


def _figures(
    view: Judged, experts: Mapping[int, ExpertResult], *, filtered: bool
) -> dict[str, dict[str, float]]:
    every: dict[str, dict[str, float]] = {"all": view.metrics(filtered=filtered)}
    for expert in experts:
        every[f"expert_{expert}"] = view.metrics(expert, filtered=filtered)
    return every


def write_json(value: object, path: Path) -> Path:
    """Write JSON that a person can read."""
    path.write_text(json.dumps(value, indent=2, default=str) + "\n", encoding="utf-8")
    return path
