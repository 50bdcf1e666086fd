"""What a training computes and keeps once its experts are fitted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import cached_property, partial
from threading import Event
from typing import Any

import numpy as np

from nnt import metrics
from nnt.engine import FitResult
from nnt.errors import ExportError
from nnt.fixedpoint import FixedPointNetworks
from nnt.judging import FixedPointTable, ScoredTable, WholeLoss, kept_rows, losses_of
from nnt.networks import DEFAULT_PRECISION, ExpertWeights, Networks, write_weights
from nnt.tracking import Run
from nnt.training.album import Album, data_of, description_of
from nnt.training.data import SPLITS
from nnt.training.inputs import TrainingInputs
from nnt.training.note import describe
from nnt.training.report import (
    drawings_of,
    fixed_point_drawings,
    log_fixed_point,
    log_predictions,
    summary,
    write_json,
)
from nnt.training.result import ExpertFailure, ExpertResult

__all__ = ["REPORTED_SPLITS", "FinalReport", "StoppedError"]

REPORTED_SPLITS = ("val", "test")

CURVES = ("loss", "loss_vs_reference", "z_std_cm", "z_trimmed_std_cm")
"""Figures of the validation rows that every epoch has, too."""

Figures = dict[str, dict[str, float]]


class StoppedError(Exception):
    """The training was asked to stop before all was computed."""


class FinalReport:
    """Weights, figures, plots and predictions of the experts that were fitted.

    Parameters
    ----------
    inputs : TrainingInputs
        Configuration and rows.
    parent : Run
        The run of the training.
    children : mapping of int to Run
        The run of each expert.
    outcomes : mapping of int to FitResult or ExpertFailure
        How the fit of each expert ended.
    histories : mapping of int to sequence of mapping
        Metrics of every epoch of each expert.
    stop : threading.Event
        Set to compute no more.
    draws : bool
        Whether there are plots.
    """

    def __init__(
        self,
        inputs: TrainingInputs,
        parent: Run,
        children: Mapping[int, Run],
        outcomes: Mapping[int, FitResult | ExpertFailure],
        histories: Mapping[int, Sequence[Mapping[str, float]]],
        stop: Event,
        *,
        draws: bool = True,
    ) -> None:
        self.draws = draws
        self.draws_rows = draws and inputs.config.plot_every > 0
        self.inputs = inputs
        self.config = inputs.config
        self.parent = parent
        self.children = children
        self.outcomes = outcomes
        self.fits = {k: v for k, v in outcomes.items() if isinstance(v, FitResult)}
        self.histories = histories
        self.stop = stop

    def log_weights(self) -> None:
        """Write ``weights.json`` of each expert, and of all for the parent."""
        weights = self._weights()
        for expert, weights_of_expert in weights.items():
            child = self.children[expert]
            write_weights(child.directory / "weights.json", {expert: weights_of_expert})
            child.log_file(child.directory / "weights.json")
        if weights:
            write_weights(self.parent.directory / "weights.json", weights)
            self.parent.log_file(self.parent.directory / "weights.json")

    def _weights(self) -> dict[int, ExpertWeights]:
        weights = {}
        for expert, result in self.fits.items():
            of_expert = self.config.for_expert(expert)
            bits = None if of_expert.quantize is None else of_expert.quantize.precision
            weights[expert] = ExpertWeights(
                result.state, of_expert.form, bits, chain=of_expert.chain
            )
        return weights

    def unjudged(self) -> dict[int, ExpertResult]:
        """How far each expert came, with the figures of its best epoch."""
        return {k: self._expert_result(k, self._best_epoch(k)) for k in self.children}

    def _best_epoch(self, expert: int) -> Figures:
        fitted = self.fits.get(expert)
        if fitted is None or fitted.best_epoch == 0:
            return {}
        row = self.histories[expert][fitted.best_epoch - 1]
        val = {k.removeprefix("val/"): v for k, v in row.items() if k[:4] == "val/"}
        return {"val": val}

    def judge(self, description: str) -> tuple[dict[int, ExpertResult], Figures]:
        """Compute and log everything that follows from the weights.

        Returns
        -------
        results : dict of int to ExpertResult
            Of each expert.
        figures : dict
            Figures over the rows of all experts, for ``val`` and ``test``.

        Raises
        ------
        StoppedError
            `stop` was set on the way.
        """
        if not self.fits:
            return self.unjudged(), {split: {} for split in REPORTED_SPLITS}
        # Here, as elsewhere in a training: matplotlib would delay its start.
        from nnt import plots

        # Tables are written while plots are drawn: writing them needs no interpreter.
        with (
            plots.Studio(self._n_plots) as studio,
            ThreadPoolExecutor(1, "tables") as pool,
        ):
            # Meanwhile the processes of the studio start.
            self._log_model()
            networks = Networks(self._weights())
            judged = {split: self._judge(split, networks) for split in SPLITS}
            album = Album(studio)
            tables = pool.submit(self._log_tables, judged)
            # What is looked at first is drawn first.
            figures = self._log_parent(judged, album)
            experts = {k: self._log_expert(k, judged, album) for k in self.children}
            if self.draws:
                self._draw_curves(experts, album)
            fixed_point = log_fixed_point(
                self.parent, self.children, networks,
                {split: judged[split] for split in REPORTED_SPLITS},
                draw=partial(self._draw_fixed_point, album),
            )  # fmt: skip
            album.log(self._check_stop)
            tables.result()
        self._log_summary(experts, judged, fixed_point)
        note = describe(self.inputs, description, experts, figures, self.parent.run_id)
        self.parent.set_tags({"mlflow.note.content": note})
        return experts, figures

    def draw(self, experts: Mapping[int, ExpertResult]) -> None:
        """Draw the plots of a training that has logged everything else before.

        Raises
        ------
        StoppedError
            `stop` was set on the way.
        """
        from nnt import plots

        networks = Networks(self._weights())
        judged = {split: self._judge(split, networks) for split in REPORTED_SPLITS}
        with plots.Studio(self._n_plots) as studio:
            album = Album(studio)
            for split, table in judged.items():
                self._draw(self.parent, split, table, None, album)
                for expert in self.fits:
                    self._draw(self.children[expert], split, table, expert, album)
            self._draw_curves(experts, album)
            with suppress(ExportError):  # the firmware cannot hold every network
                both = FixedPointTable(judged["test"], FixedPointNetworks(networks))
                folder = f"plots/test_{both.networks.name}"
                self._draw_fixed_point(album, both, "test", folder)
            album.log(self._check_stop)

    @property
    def _n_plots(self) -> int:
        """About how many plots of rows there are."""
        from nnt import plots

        n_scopes = len(REPORTED_SPLITS) * (len(self.fits) + 1)
        n_plots = n_scopes * len(plots.registered(plots.TRAINING))
        return n_plots if self.draws_rows else 0

    def _draw_curves(self, experts: Mapping[int, ExpertResult], album: Album) -> None:
        from nnt import plots

        best = {
            expert: (result.best_epoch, result.val["loss"])
            for expert, result in experts.items()
            if "loss" in result.val
        }
        plot = partial(plots.learning_curves, best=best)
        description = f"{self.config.name} {self.parent.run_id[:6]}"
        curves = {k: list(history) for k, history in self.histories.items() if history}
        album.add(
            self.parent, "plots",
            [plots.Drawing("learning_curves", plot, curves, description)],
        )  # fmt: skip

    def _draw(
        self,
        run: Run,
        split: str,
        judged: ScoredTable,
        expert: int | None,
        album: Album,
    ) -> None:
        if self.draws_rows:
            drawings = drawings_of(
                judged, expert, self._description(run, split, expert)
            )
            album.add(run, f"plots/{split}", drawings)

    def _draw_fixed_point(
        self, album: Album, both: FixedPointTable, split: str, folder: str
    ) -> None:
        if self.draws_rows:
            description = self._description(self.parent, split, None)
            album.add(
                self.parent, folder, fixed_point_drawings(both, None, description)
            )

    def _description(self, run: Run, split: str, expert: int | None) -> str:
        title = f"{self.config.name} {run.run_id[:6]}"
        return description_of(title, data_of(self.config, split), expert)

    def _log_tables(self, judged: Mapping[str, ScoredTable]) -> None:
        for split in self.config.predictions:
            self._check_stop()
            log_predictions(self.parent, split, judged[split])

    def _log_model(self) -> None:
        self._check_stop()
        tracks, experts = self.inputs.splits["test"], list(self.fits)
        served = np.flatnonzero(np.isin(tracks.expert, experts) | (-1 in experts))
        _, first = np.unique(tracks.expert[served], return_index=True)
        rows = served[first]
        path = self.parent.directory / "weights.json"
        self.parent.log_model(path, tracks[rows], self._model_params())

    def _model_params(self) -> dict[str, object]:
        """What tells the model of one training from those of others."""
        weights = self._weights().values()
        forms = {str(own.form): None for own in weights}
        precisions = {own.precision or DEFAULT_PRECISION: None for own in weights}
        digests = self.inputs.splits.items()
        return {
            "config": self.config.name,
            "form": ", ".join(forms),
            "outputs": ", ".join(self.config.form.outputs),
            "experts": ", ".join(map(str, self.fits)),
            "precision": "; ".join(", ".join(map(str, p)) for p in precisions),
            **{f"data.{split}": tracks.digest for split, tracks in digests},
        }

    def _check_stop(self) -> None:
        if self.stop.is_set():
            raise StoppedError

    def _judge(self, split: str, networks: Networks) -> ScoredTable:
        self._check_stop()
        tracks = self.inputs.splits[split]
        kept = kept_rows(self.config, tracks)
        reference = self.inputs.references[split]
        return ScoredTable.of_experts(
            tracks, kept, networks, losses_of(self.config), reference, self._whole_loss
        )

    @cached_property
    def _whole_loss(self) -> WholeLoss | None:
        """Loss of networks with classes; None for others."""
        if not WholeLoss.is_needed(self.config):
            return None
        return WholeLoss.of_training(
            self.config, self.inputs.splits["train"], self.fits
        )

    def _log_expert(
        self, expert: int, judged: Mapping[str, ScoredTable], album: Album
    ) -> ExpertResult:
        if expert not in self.fits:
            return self._expert_result(expert, {})
        child, result = self.children[expert], self.fits[expert]
        figures = {split: judged[split].metrics(expert) for split in REPORTED_SPLITS}
        ends = {"best_epoch": float(result.best_epoch), "epochs": float(result.epochs)}
        child.log_metrics(ends, 0)
        for split in REPORTED_SPLITS:
            self._check_stop()
            _log_final(child, split, figures[split], result.epochs)
            self._draw(child, split, judged[split], expert, album)
        return self._expert_result(expert, figures)

    def _log_parent(self, judged: Mapping[str, ScoredTable], album: Album) -> Figures:
        figures = {split: judged[split].metrics() for split in REPORTED_SPLITS}
        fits = self.fits.values()
        last = max(result.epochs for result in fits)
        # A mean would be no epoch at all; after this one, no expert improved.
        best = max(result.best_epoch for result in fits)
        ends = {"best_epoch": float(best), "epochs": float(last)}
        self.parent.log_metrics(ends, 0)
        for split in REPORTED_SPLITS:
            self._check_stop()
            digest = self.inputs.splits[split].digest
            _log_final(self.parent, split, figures[split], last, digest)
            self._draw(self.parent, split, judged[split], None, album)
        return figures

    def _expert_result(self, expert: int, figures: Figures) -> ExpertResult:
        run_id, fitted = self.children[expert].run_id, self.outcomes[expert]
        if isinstance(fitted, ExpertFailure):
            return ExpertResult(
                run_id=run_id, best_epoch=0, epochs=0, stop_reason="failed",
                error=fitted.reason,
            )  # fmt: skip
        return ExpertResult(
            run_id=run_id,
            best_epoch=fitted.best_epoch,
            epochs=fitted.epochs,
            stop_reason=fitted.stop_reason,
            val=figures.get("val", {}),
            test=figures.get("test", {}),
        )

    def _log_summary(
        self,
        experts: dict[int, ExpertResult],
        judged: Mapping[str, ScoredTable],
        fixed_point: dict[str, Any],
    ) -> None:
        digests = {s: t.digest for s, t in self.inputs.splits.items()}
        value = summary(self.config, self.inputs.code, digests, experts, judged)
        value["fixed_point"] = fixed_point
        path = write_json(value, self.parent.directory / "summary.json")
        self.parent.log_file(path)


def _log_final(
    run: Run, split: str, figures: Mapping[str, float], epochs: int, digest: str = ""
) -> None:
    """Log the figures of the best weights.

    Those that have a curve get one point more, after its end; the others are at
    step 0, where MLflow draws bars to compare runs by. With the digest of the rows,
    the most important ones belong to the model of the run, too.
    """
    curves = CURVES if split == "val" else ()
    for step, names in (
        (epochs + 1, [name for name in figures if name in curves]),
        (0, [name for name in figures if name not in curves]),
    ):
        ours = {n for n in names if digest and n in metrics.MODEL_METRICS}
        of_model = {f"{split}/{n}": figures[n] for n in names if n in ours}
        if of_model:
            run.log_model_metrics(of_model, step, split, digest)
        run.log_metrics(
            {f"{split}/{n}": figures[n] for n in names if n not in ours}, step
        )
