"""What a training computes and keeps once its experts are fitted."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import cached_property, partial
from typing import TYPE_CHECKING

import numpy as np

from nnt import metrics
from nnt.engine import FitResult
from nnt.errors import ExportError
from nnt.fixedpoint import FixedPointNetworks
from nnt.judging import (
    FixedPointTable,
    LossOfRows,
    ScoredTable,
    served_rows,
    whole_loss,
)
from nnt.networks import DEFAULT_PRECISION, ExpertWeights, Networks, write_weights
from nnt.tracking import Run
from nnt.training.data import SPLITS
from nnt.training.note import describe
from nnt.training.report import (
    data_of,
    description_of,
    drawings_of,
    log_fixed_point,
    log_predictions,
    summary,
)
from nnt.training.result import ExpertResult, TrainingRuns

if TYPE_CHECKING:  # matplotlib would delay the start of a training
    from nnt.plots import Studio

REPORTED_SPLITS = ("val", "test")

CURVES = ("loss", "loss_vs_reference", "z_std_cm", "z_trimmed_std_cm")
"""Figures of the validation rows that every epoch has, too."""

Figures = dict[str, dict[str, float]]
Place = tuple[Run, str]
"""Where a picture goes: a run, and the path in it."""


class StoppedError(Exception):
    """The training was asked to stop before all was computed."""


class FinalReport:
    """Weights, figures, plots and predictions of the experts that were fitted.

    It takes how the fit of each expert ended, and the metrics of all its epochs.
    Raises `StoppedError` where the training is asked to stop on the way.
    """

    def __init__(
        self,
        training: TrainingRuns,
        results: Mapping[int, FitResult],
        histories: Mapping[int, Sequence[Mapping[str, float]]],
    ) -> None:
        self.training = training
        self.inputs = training.inputs
        self.config = self.inputs.config
        self.parent = training.parent
        self.children = training.children
        self.draws = not training.caller.parent
        self.draws_rows = self.draws and self.config.plot_every > 0
        self.results = results
        self.fits = {k: fit for k, fit in results.items() if not fit.error}
        self.histories = histories

    @cached_property
    def weights(self) -> dict[int, ExpertWeights]:
        """Of every expert that was fitted."""
        weights = {}
        for expert, fit in self.fits.items():
            config = self.config.for_expert(expert)
            bits = None if config.quantize is None else config.quantize.precision
            weights[expert] = ExpertWeights(
                fit.state, config.form, bits, chain=config.chain
            )
        return weights

    def log_weights(self) -> None:
        """Write ``weights.json`` of each expert, and of all for the parent."""
        logged = [(self.children[k], {k: own}) for k, own in self.weights.items()]
        if self.weights:
            logged.append((self.parent, self.weights))
        for run, weights in logged:
            write_weights(run.directory / "weights.json", weights)
            run.log_file(run.directory / "weights.json")

    def unjudged(self) -> dict[int, ExpertResult]:
        """How far each expert came, with the figures of its best epoch."""
        figures: dict[int | None, Figures] = {}
        for expert, fit in self.fits.items():
            if fit.best_epoch:
                row = self.histories[expert][fit.best_epoch - 1]
                val = {k[4:]: v for k, v in row.items() if k.startswith("val/")}
                figures[expert] = {"val": val}
        return self._expert_results(figures)

    def _expert_results(
        self, figures: Mapping[int | None, Figures]
    ) -> dict[int, ExpertResult]:
        return {
            expert: ExpertResult(
                run_id=child.run_id,
                best_epoch=fit.best_epoch,
                epochs=fit.epochs,
                stop_reason=fit.stop_reason,
                error=fit.error,
                **figures.get(expert, {}),
            )
            for expert, child in self.children.items()
            for fit in [self.results[expert]]
        }

    def judge(self, description: str) -> tuple[dict[int, ExpertResult], Figures]:
        """Compute and log everything that follows from the weights.

        Gives the result of each expert, and figures over the rows of all of them for
        ``val`` and ``test``.
        """
        if not self.fits:
            return self.unjudged(), {split: {} for split in REPORTED_SPLITS}
        # Here, as elsewhere in a training: matplotlib would delay its start.
        from nnt import plots

        # Tables are written while plots are drawn: writing them needs no interpreter.
        with (
            plots.Studio[Place](self._n_plots) as studio,
            ThreadPoolExecutor(1, "tables") as pool,
        ):
            # Meanwhile the processes of the studio start.
            self._log_model()
            networks = Networks(self.weights)
            judged = {split: self._judge(split, networks) for split in SPLITS}
            tables = pool.submit(self._log_tables, judged)
            # What is looked at first is drawn first.
            figures: dict[int | None, Figures] = {}
            for expert in (None, *self.fits):
                figures[expert] = self._log(expert, judged)
                self._draw_rows(expert, judged, studio)
            experts = self._expert_results(figures)
            reported = {split: judged[split] for split in REPORTED_SPLITS}
            runs = self.training.by_scope
            fixed_point, both = log_fixed_point(runs, networks, reported)
            best = {
                k: (result.best_epoch, result.val["loss"])
                for k, result in experts.items()
                if "loss" in result.val
            }
            self._draw_rest(best, both, studio)
            tables.result()
        value = summary(self.inputs, experts, judged) | {"fixed_point": fixed_point}
        text = json.dumps(value, indent=2, default=str) + "\n"
        self.parent.log_text(text, "summary.json")
        run_id = self.parent.run_id
        note = describe(self.inputs, description, experts, figures[None], run_id)
        self.parent.set_tags({"mlflow.note.content": note})
        return experts, figures[None]

    def draw(self, best: Mapping[int, tuple[int, float]]) -> None:
        """Draw the plots of a training that has logged everything else before.

        `best` is the best epoch of each expert, and the validation loss of that.
        """
        from nnt import plots

        networks = Networks(self.weights)
        judged = {split: self._judge(split, networks) for split in REPORTED_SPLITS}
        with plots.Studio[Place](self._n_plots) as studio:
            for expert in (None, *self.fits):
                self._draw_rows(expert, judged, studio)
            both = None
            with suppress(ExportError):  # the firmware cannot hold every network
                both = FixedPointTable(judged["test"], FixedPointNetworks(networks))
            self._draw_rest(best, both, studio)

    @property
    def _n_plots(self) -> int:
        """About how many plots of rows there are."""
        from nnt import plots

        n_scopes = len(REPORTED_SPLITS) * (len(self.fits) + 1)
        n_plots = n_scopes * len(plots.registered(plots.TRAINING))
        return n_plots if self.draws_rows else 0

    def _draw_rows(
        self,
        expert: int | None,
        judged: Mapping[str, ScoredTable],
        studio: Studio[Place],
    ) -> None:
        """Have the plots of the rows of one expert, or (None) of all, drawn."""
        for split in REPORTED_SPLITS if self.draws_rows else ():
            self._check_stop()
            shown = drawings_of(judged[split], expert, self._description(split, expert))
            for drawing in shown:
                path = f"plots/{split}/{drawing.name}.png"
                studio.add((self._run(expert), path), drawing)

    def _draw_rest(
        self,
        best: Mapping[int, tuple[int, float]],
        both: FixedPointTable | None,
        studio: Studio[Place],
    ) -> None:
        """Draw learning curves and the test rows in integers, and log all pictures."""
        from nnt import plots

        if self.draws:
            curves = {k: history for k, history in self.histories.items() if history}
            plot = partial(plots.learning_curves, best=best)
            name, description = "learning_curves", self._title(self.parent)
            drawing = plots.Drawing(name, plot, curves, description)
            studio.add((self.parent, f"plots/{name}.png"), drawing)
        if self.draws_rows and both is not None:
            folder = f"plots/test_{both.integers.name}"
            for drawing in drawings_of(both, None, self._description("test", None)):
                studio.add((self.parent, f"{folder}/{drawing.name}.png"), drawing)
        for (run, path), data in studio.drawn():
            self._check_stop()
            run.log_bytes(data, path)

    def _run(self, expert: int | None) -> Run:
        return self.parent if expert is None else self.children[expert]

    def _description(self, split: str, expert: int | None) -> str:
        title = self._title(self._run(expert))
        return description_of(title, data_of(self.config, split), expert)

    def _title(self, run: Run) -> str:
        return f"{self.config.name} {run.run_id[:6]}"

    def _log_tables(self, judged: Mapping[str, ScoredTable]) -> None:
        for split in self.config.predictions:
            self._check_stop()
            log_predictions(self.parent, split, judged[split])

    def _log_model(self) -> None:
        self._check_stop()
        tracks = self.inputs.splits["test"]
        served = np.flatnonzero(served_rows(tracks, self.fits))
        _, first = np.unique(tracks.expert[served], return_index=True)
        path = self.parent.directory / "weights.json"
        self.parent.log_model(path, tracks[served[first]], self._model_params())

    def _model_params(self) -> dict[str, object]:
        """What tells the model of one training from those of others."""
        weights = self.weights.values()
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
        if self.training.stop.is_set():
            raise StoppedError

    def _judge(self, split: str, networks: Networks) -> ScoredTable:
        self._check_stop()
        tracks, reference = self.inputs.splits[split], self.inputs.references[split]
        return ScoredTable.of_experts(
            tracks, networks, self.config, reference, self._whole_loss
        )

    @cached_property
    def _whole_loss(self) -> LossOfRows | None:
        train = self.inputs.splits["train"]
        return whole_loss(self.config, lambda: train, self.fits)

    def _log(self, expert: int | None, judged: Mapping[str, ScoredTable]) -> Figures:
        """Log how good one expert is, or (None) all together."""
        run = self._run(expert)
        fits = self.fits.values() if expert is None else [self.fits[expert]]
        figures = {split: judged[split].metrics(expert) for split in REPORTED_SPLITS}
        # A mean would be no epoch at all; after this one, no expert improved.
        best = max(result.best_epoch for result in fits)
        last = max(result.epochs for result in fits)
        run.log_metrics({"best_epoch": float(best), "epochs": float(last)}, 0)
        for split in REPORTED_SPLITS:
            self._check_stop()
            digest = self.inputs.splits[split].digest if expert is None else ""
            _log_final(run, split, figures[split], last, digest)
        return figures


def _log_final(
    run: Run, split: str, figures: Mapping[str, float], epochs: int, digest: str = ""
) -> None:
    """Log the figures of the best weights.

    Those that have a curve get one point more, after its end; the others are at
    step 0, where MLflow draws bars to compare runs by. With the digest of the rows,
    the most important ones belong to the model of the run, too.
    """
    curves = CURVES if split == "val" else ()
    groups: dict[tuple[int, bool], dict[str, float]] = defaultdict(dict)
    for name, value in figures.items():
        step = epochs + 1 if name in curves else 0
        is_of_model = bool(digest) and name in metrics.MODEL_METRICS
        groups[step, is_of_model][f"{split}/{name}"] = value
    for (step, is_of_model), named in groups.items():
        if is_of_model:
            run.log_model_metrics(named, step, split, digest)
        else:
            run.log_metrics(named, step)
