"""One table with what several networks predict for its rows, and how good they are."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from nnt import metrics
from nnt.config import Config
from nnt.judging.outputs import (
    MEASURED,
    Outputs,
    as_array,
    expert_mask,
    predicted_outputs,
    rows_of,
    served_rows,
)
from nnt.metrics import Predictions, Replicas, Sample
from nnt.objective import REGRESSION_KINDS, residual_loss
from nnt.tracks import Tracks
from nnt.types import F64, BoolArray, FloatArray

if TYPE_CHECKING:
    from nnt.networks import Networks

__all__ = ["MAIN", "REFERENCE", "Losses", "ScoredTable", "losses_of"]

LossOfRows = Callable[[Tracks, Outputs], F64]

MAIN = "network"
"""Name of the network that is judged; metrics of all others have their name behind."""
REFERENCE = "reference"


Losses = Mapping[int | None, str]
"""Name of the loss, as in PyTorch, over the rows of all experts (None), and over those
of one expert, where it is another one."""


def losses_of(config: Config | None) -> Losses:
    """Losses that a configuration trains with."""
    if config is None:
        return {None: "MSELoss"}
    found: dict[int | None, str] = {None: config.loss}
    return found | {k: config.for_expert(k).loss for k in config.experts}


class ScoredTable:
    """Rows, what networks predict for them, and the metrics that follow.

    Parameters
    ----------
    tracks : Tracks
        N rows.
    kept : bool array, shape (N,)
        Rows that pass the filter.
    networks : mapping of str to Outputs
        By the name of the network. The first is the one that is judged; metrics of
        the others are logged with their name behind.
    losses : mapping, optional
        Of the networks.
    loss_outputs : sequence of str, optional
        Measured outputs that the losses are over; default: those of the network that
        is judged.
    whole_loss : callable, optional
        For networks with classes: gives the part of each row in the loss that they
        were trained with, shape (N,). Ratios to networks without classes are over the
        measured outputs.
    """

    def __init__(
        self,
        tracks: Tracks,
        kept: BoolArray,
        networks: Mapping[str, Outputs],
        losses: Losses | None = None,
        loss_outputs: Sequence[str] | None = None,
        whole_loss: LossOfRows | None = None,
    ) -> None:
        self.tracks = tracks
        self.kept = kept
        self.networks = dict(networks)
        self.losses = losses or losses_of(None)
        names = self.networks[self.main] if loss_outputs is None else loss_outputs
        self.loss_outputs = [name for name in MEASURED if name in names]
        self.whole_loss = whole_loss
        self._whole: dict[str, F64] = {}
        self._rows = metrics.predictions(tracks, {})
        self._metrics: dict[tuple[int | None, bool], dict[str, float]] = {}

    @classmethod
    def of_experts(
        cls,
        tracks: Tracks,
        kept: BoolArray,
        networks: Networks,
        losses: Losses | None = None,
        reference: Outputs | None = None,
        whole_loss: LossOfRows | None = None,
    ) -> ScoredTable:
        """Let experts predict the rows that they serve; other rows are left out.

        Parameters
        ----------
        tracks, kept, losses, whole_loss
            As of the class; of all rows.
        networks : Networks
            The experts.
        reference : Outputs, optional
            Of all rows, to compare with.
        """
        served = served_rows(tracks, networks.experts)
        mine = tracks if served.all() else tracks[served]
        named: dict[str, Outputs] = {MAIN: predicted_outputs(networks, mine)}
        if reference is not None:
            named[REFERENCE] = rows_of(reference, served)
        return cls(mine, kept[served], named, losses, whole_loss=whole_loss)

    @property
    def main(self) -> str:
        """Name of the network that is judged."""
        return next(iter(self.networks))

    @property
    def others(self) -> list[str]:
        """Names of the networks that it is compared with."""
        return list(self.networks)[1:]

    def rows(self, expert: int | None = None, *, filtered: bool = True) -> BoolArray:
        """Rows of one expert, or (None) of all."""
        mask = self.kept if filtered else np.ones(len(self.tracks), dtype=np.bool_)
        return mask if expert is None else mask & expert_mask(self.tracks, expert)

    def predictions(self, rows: BoolArray, network: str = "") -> Predictions:
        """Rows with the outputs of one network, in physical units.

        Parameters
        ----------
        rows : bool array, shape (N,)
            Which.
        network : str, optional
            Name; default: that of the network that is judged.
        """
        outputs = self.networks[network or self.main]
        return metrics.with_outputs(self._rows[rows], rows_of(outputs, rows))

    def named_predictions(self, rows: BoolArray) -> dict[str, Predictions]:
        """The same of every network, by name."""
        return {name: self.predictions(rows, name) for name in self.networks}

    def loss_of_rows(
        self, rows: BoolArray, network: str, expert: int | None = None
    ) -> FloatArray | None:
        """Loss of each row, over the measured outputs `loss_outputs`.

        Returns
        -------
        float64 array, shape (n,), or None
            None for a network that lacks one of these outputs.
        """
        outputs = rows_of(self.networks[network], rows)
        names = self.loss_outputs
        if not names or not set(names) <= outputs.keys():
            return None
        columns = [MEASURED.index(name) for name in names]
        targets = self.tracks.targets[rows][:, columns]
        kind = REGRESSION_KINDS[self.losses.get(expert, self.losses[None])]
        found = residual_loss(kind, as_array(outputs, names) - targets).mean(axis=1)
        # z and theta of a track of no particle mean nothing.
        return np.where(self._rows.real[rows], found, 0.0)

    def sample(
        self, rows: BoolArray, network: str = "", expert: int | None = None
    ) -> Sample:
        """What the metrics of a network on some rows are functions of."""
        network = network or self.main
        losses = self._losses(rows, network, expert)
        return Sample.of(self.predictions(rows, network), losses)

    def _losses(
        self, rows: BoolArray, network: str, expert: int | None
    ) -> dict[str, FloatArray]:
        if self.has_whole_loss(network):
            return {"loss": self._whole_loss_of(network)[rows]}
        of_rows = self.loss_of_rows(rows, network, expert)
        return {} if of_rows is None else {"loss": of_rows}

    def has_whole_loss(self, network: str) -> bool:
        """Whether the loss of a network is over its classes, too."""
        outputs = self.networks[network].keys()
        return (
            self.whole_loss is not None and self.networks[self.main].keys() <= outputs
        )

    def _whole_loss_of(self, network: str) -> F64:
        if network not in self._whole and self.whole_loss is not None:
            outputs = self.networks[network]
            self._whole[network] = self.whole_loss(self.tracks, outputs)
        return self._whole[network]

    def metrics_of(
        self, network: str, expert: int | None = None, *, filtered: bool = True
    ) -> dict[str, float]:
        """Metrics of one network, by their names in `nnt.metrics.METRICS`."""
        rows = self.rows(expert, filtered=filtered)
        return metrics.compute_metrics(self.sample(rows, network, expert))

    def metrics(
        self, expert: int | None = None, *, filtered: bool = True
    ) -> dict[str, float]:
        """Metrics of all networks, by the names under which they are logged.

        Returns
        -------
        dict
            Those of the network that is judged, those of each other network with
            its name behind, and ``loss_vs_<name>``, the ratio of the losses.
        """
        # A filter that keeps all rows makes no difference.
        key = expert, filtered and not self.kept.all()
        if key not in self._metrics:
            self._metrics[key] = self._compute(expert, filtered=filtered)
        return dict(self._metrics[key])

    def _compute(self, expert: int | None, *, filtered: bool) -> dict[str, float]:
        found = self.metrics_of(self.main, expert, filtered=filtered)
        rows = self.rows(expert, filtered=filtered)
        for name in self.others if found else ():
            of_other = self.metrics_of(name, expert, filtered=filtered)
            of_other.pop("n_tracks", None)
            found |= {f"{metric}_{name}": value for metric, value in of_other.items()}
            loss = found.get("loss")
            if self.has_whole_loss(self.main) and not self.has_whole_loss(name):
                measured = self.loss_of_rows(rows, self.main, expert)
                loss = None if measured is None else float(measured.mean())
            if loss is not None and of_other.get("loss", 0) > 0:
                found[f"loss_vs_{name}"] = loss / of_other["loss"]
        return found

    def errors(
        self, expert: int | None = None
    ) -> tuple[dict[str, dict[str, float]], dict[str, Replicas]]:
        """Standard errors of the metrics of every network, of rows that are kept.

        Returns
        -------
        errors : dict
            Name of the network -> metric -> error.
        replicas : dict of str to Replicas
            By the name of the network, for errors of differences between them.
        """
        rows = self.rows(expert)
        draws = metrics.EventDraws(self._rows.event[rows])
        errors, drawn = {}, {}
        for name in self.networks:
            sample = self.sample(rows, name, expert)
            drawn[name] = metrics.replicas(
                self.predictions(rows, name), self._losses(rows, name, expert), draws
            )
            errors[name] = metrics.metric_errors(
                metrics.compute_metrics(sample), sample, drawn[name]
            )
        return errors, drawn
