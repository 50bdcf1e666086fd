"""One table with what several networks predict for its rows, and how good they are."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from nnt import metrics
from nnt.config import Config
from nnt.judging.outputs import (
    MEASURED,
    LossOfRows,
    Outputs,
    as_array,
    kept_rows,
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

MAIN = "network"
"""Name of the network that is judged; metrics of all others have their name behind."""
REFERENCE = "reference"

Figures = dict[str, dict[str, float]]
"""Numbers of ``all`` rows, and of those of each ``expert_k``."""
Losses = Mapping[int | None, str]
"""Name of the loss, as in PyTorch, over the rows of all experts (None), and over those
of one expert, where it is another one."""


def losses_of(config: Config | None) -> Losses:
    """Losses that a configuration trains with."""
    if config is None:
        return {None: "MSELoss"}
    found: dict[int | None, str] = {None: config.loss}
    return found | {k: config.for_expert(k).loss for k in config.experts}


def scopes_of(experts: Iterable[int]) -> dict[str, int | None]:
    """Name all rows (None), and those of each expert."""
    return {"all": None} | {f"expert_{k}": k for k in experts}


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
        self.main = next(iter(self.networks))
        self.losses = losses or losses_of(None)
        names = self.networks[self.main] if loss_outputs is None else loss_outputs
        self._loss_outputs = [name for name in MEASURED if name in names]
        self.whole_loss = whole_loss
        self._whole: dict[str, F64] = {}
        self._rows = metrics.predictions(tracks, {})
        self._metrics: dict[tuple[str, int | None, bool], dict[str, float]] = {}

    @classmethod
    def of_experts(
        cls,
        tracks: Tracks,
        networks: Networks,
        config: Config | None = None,
        reference: Outputs | None = None,
        whole_loss: LossOfRows | None = None,
    ) -> ScoredTable:
        """Let experts predict the rows that they serve; other rows are left out.

        Filter and losses are those of a training. A `reference` has outputs for all
        rows, too.
        """
        served = served_rows(tracks, networks.experts)
        kept = kept_rows(config, tracks)[served]
        mine = tracks if served.all() else tracks[served]
        named: dict[str, Outputs] = {MAIN: predicted_outputs(networks, mine)}
        if reference is not None:
            named[REFERENCE] = rows_of(reference, served)
        return cls(mine, kept, named, losses_of(config), whole_loss=whole_loss)

    def rows(self, expert: int | None = None, *, filtered: bool = True) -> BoolArray:
        """Rows of one expert, or (None) of all."""
        mask = self.kept if filtered else np.ones(len(self.tracks), dtype=np.bool_)
        return mask if expert is None else mask & served_rows(self.tracks, [expert])

    def predictions(self, rows: BoolArray, network: str = "") -> Predictions:
        """Some rows with the outputs of one network (the one judged), in cm and deg."""
        outputs = self.networks[network or self.main]
        return metrics.with_outputs(self._rows[rows], rows_of(outputs, rows))

    def named_predictions(self, rows: BoolArray) -> dict[str, Predictions]:
        """The same of every network, by name."""
        return {name: self.predictions(rows, name) for name in self.networks}

    def _measured_loss(
        self, rows: BoolArray, network: str, expert: int | None
    ) -> FloatArray | None:
        """Loss of each row over z and theta; None for a network that lacks one."""
        outputs, names = self.networks[network], self._loss_outputs
        if not names or not set(names) <= outputs.keys():
            return None
        columns = [MEASURED.index(name) for name in names]
        targets = self.tracks.targets[rows][:, columns]
        kind = REGRESSION_KINDS[self.losses.get(expert, self.losses[None])]
        residuals = as_array(rows_of(outputs, rows), names) - targets
        found = residual_loss(kind, residuals).mean(axis=1)
        # z and theta of a track of no particle mean nothing.
        return np.where(self._rows.real[rows], found, 0.0)

    def same_loss(self, network: str) -> bool:
        """Whether the loss of a network is over all outputs of the one judged."""
        judged, other = self.networks[self.main], self.networks[network]
        return self.whole_loss is None or judged.keys() <= other.keys()

    def _losses(
        self, rows: BoolArray, network: str, expert: int | None
    ) -> dict[str, FloatArray]:
        if self.whole_loss is None or not self.same_loss(network):
            of_rows = self._measured_loss(rows, network, expert)
            return {} if of_rows is None else {"loss": of_rows}
        if network not in self._whole:
            self._whole[network] = self.whole_loss(self.tracks, self.networks[network])
        return {"loss": self._whole[network][rows]}

    def sample(
        self, rows: BoolArray, network: str = "", expert: int | None = None
    ) -> Sample:
        """What the metrics of a network on some rows are functions of."""
        losses = self._losses(rows, network or self.main, expert)
        return Sample.of(self.predictions(rows, network), losses)

    def metrics_of(
        self, network: str, expert: int | None = None, *, filtered: bool = True
    ) -> dict[str, float]:
        """Metrics of one network, by their names in `nnt.metrics.METRICS`."""
        # A filter that keeps all rows makes no difference.
        key = network, expert, filtered and not self.kept.all()
        if key not in self._metrics:
            rows = self.rows(expert, filtered=filtered)
            sample = self.sample(rows, network, expert)
            self._metrics[key] = metrics.compute_metrics(sample)
        return dict(self._metrics[key])

    def logged(self, values: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
        """Name metrics of all networks as they are logged: the network comes last."""
        return {
            name if network == self.main else f"{name}_{network}": value
            for network, named in values.items()
            for name, value in named.items()
            if network == self.main or name != "n_tracks"
        }

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
        named = {
            k: self.metrics_of(k, expert, filtered=filtered) for k in self.networks
        }
        found = self.logged(named)
        for name in [*self.networks][1:]:
            loss, of_other = found.get("loss"), named[name].get("loss", 0.0)
            if of_other > 0 and not self.same_loss(name):
                rows = self.rows(expert, filtered=filtered)
                measured = self._measured_loss(rows, self.main, expert)
                loss = None if measured is None else float(measured.mean())
            if loss is not None and of_other > 0:
                found[f"loss_vs_{name}"] = loss / of_other
        return found

    def figures(self, experts: Iterable[int], *, filtered: bool = True) -> Figures:
        """Metrics of all rows, and of those of each expert."""
        scopes = scopes_of(experts).items()
        return {scope: self.metrics(k, filtered=filtered) for scope, k in scopes}

    def errors(
        self, expert: int | None = None
    ) -> dict[str, tuple[dict[str, float], Replicas]]:
        """Standard errors of the metrics of every network, of rows that are kept.

        Returns
        -------
        dict
            Name of the network -> errors of its metrics, and replicas for errors of
            differences to another network.
        """
        rows, found = self.rows(expert), {}
        draws = metrics.EventDraws(self._rows.event[rows])
        for name in self.networks:
            scored = self.predictions(rows, name), self._losses(rows, name, expert)
            drawn, sample = metrics.replicas(*scored, draws), Sample.of(*scored)
            values = self.metrics_of(name, expert)
            found[name] = metrics.metric_errors(values, sample, drawn), drawn
        return found
