"""A whole training, from the configuration to the artifacts of the parent run."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from threading import Event, current_thread
from typing import Any

import numpy as np
import torch

from nnt import metrics, plots
from nnt.config import Config, load_config
from nnt.engine import Epoch, FitResult
from nnt.errors import NNTError
from nnt.networks import Networks
from nnt.progress import show_progress
from nnt.tracking import MlflowTracker, Outcome, Run, Tracker
from nnt.training.counter import EpochCounter
from nnt.training.data import (
    SPLITS,
    expert_data,
    expert_splits,
)
from nnt.training.expert import ExpertLog, train_expert
from nnt.training.painter import Painter
from nnt.training.parent import MeanOverExperts
from nnt.training.prepare import Prepared, prepare
from nnt.training.report import (
    Judged,
    describe,
    log_plots,
    log_predictions,
    log_sampling,
    summary,
    write_json,
)
from nnt.training.result import ExpertResult, TrainingResult
from nnt.weights import ExpertWeights, write_weights

__all__ = ["train"]

log = logging.getLogger(__name__)

JUDGED_SPLITS = ("val", "test")

CURVES = ("loss", "loss_vs_reference", "z_std_cm", "z_trimmed_std_cm")
"""Figures of the validation rows that every epoch has, too."""


def train(
    config: Config | str | Path | Mapping[str, Any],
    *,
    description: str = "",
    jobs: int | None = None,
    device: str = "auto",
    tracker: Tracker | None = None,
    stop: Event | None = None,
) -> TrainingResult:
    """Train the experts of a configuration side by side and track everything.

    Parameters
    ----------
    config : Config, str, Path or mapping
        A loaded configuration, or what `load_config` takes.
    description : str
        Goes into the note of the parent run.
    jobs : int, optional
        Experts that train at the same time; default: `workers`, else the cores.
        The result does not depend on it.
    device : str
        ``"auto"``, ``"cpu"`` or ``"cuda"``.
    tracker : Tracker, optional
        Default: MLflow, at ``MLFLOW_TRACKING_URI`` or ``mlflow.db`` in the
        working directory.
    stop : threading.Event, optional
        Set it to end after the epochs under way; what is done is kept.

    Returns
    -------
    TrainingResult
        Run IDs, and figures of every expert.

    Raises
    ------
    ConfigError, DataError, TrackingError
        Something cannot be used; nothing has been started.
    """
    if not isinstance(config, Config):
        config = load_config(config)
    # One thread each: the experts themselves run side by side.
    torch.set_num_threads(1)
    prepared = prepare(config)
    tracker = tracker or MlflowTracker()
    try:
        parent = tracker.start_run(
            config.name, description=description or config.description,
            tags=prepared.tags,
        )  # fmt: skip
        training = _Training(
            prepared, tracker, parent, stop or Event(), jobs=_jobs(config, jobs),
            device=_device(device), description=description,
        )  # fmt: skip
        with _app_log(parent):
            return _close_on_error(parent, training.run)
    finally:
        tracker.close()


def _jobs(config: Config, jobs: int | None) -> int:
    return jobs or config.workers or os.cpu_count() or 1


def _device(device: str) -> str:
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    return device


@contextmanager
def _app_log(parent: Run) -> Iterator[None]:
    """Keep the log of the whole training, then hand it to the run."""
    path = parent.directory / "app.log"
    handler = logging.FileHandler(path, encoding="utf-8")
    handler.setFormatter(
        logging.Formatter("%(asctime)s %(levelname)s %(threadName)s %(message)s")
    )
    logger = logging.getLogger("nnt")
    if logger.level == logging.NOTSET:
        logger.setLevel(logging.INFO)
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        handler.close()


def _close_on_error(parent: Run, work: Callable[[], TrainingResult]) -> TrainingResult:
    """Leave no run RUNNING, whatever happens."""
    try:
        return work()
    except KeyboardInterrupt:
        parent.finish("KILLED", "interrupted")
        raise
    except BaseException as err:
        parent.finish("FAILED", f"{type(err).__name__}: {err}")
        raise


class _Training:
    """The steps of one training, in the order in which they are defined."""

    def __init__(
        self,
        prepared: Prepared,
        tracker: Tracker,
        parent: Run,
        stop: Event,
        *,
        jobs: int,
        device: str,
        description: str,
    ) -> None:
        self.prepared = prepared
        self.config = prepared.config
        self.tracker = tracker
        self.parent = parent
        self.stop = stop
        self.jobs = jobs
        self.device = device
        self.description = description
        self.kept = {k: prepared.kept(k) for k in self.config.experts}
        self.mean = MeanOverExperts(self.config.experts, parent.log_metrics)
        self.children: dict[int, Run] = {}
        self.errors: dict[int, str] = {}
        self.painter = Painter()

    def run(self) -> TrainingResult:
        self._log_inputs()
        self._start_children()
        try:
            fits = self._fit_all()
        finally:
            self.painter.close()
        outcome = self._outcome()
        experts, figures = self._report(fits)
        self._finish_children(experts)
        self.parent.log_file(self.parent.directory / "app.log", "logs")
        self.parent.finish(outcome, "; ".join(self.errors.values()))
        return TrainingResult(
            run_id=self.parent.run_id,
            experiment_id=self.parent.experiment_id,
            tracking_uri=self.tracker.uri,
            outcome=outcome,
            experts=experts,
            val=figures["val"],
            test=figures["test"],
        )

    def _log_inputs(self) -> None:
        parent, code = self.parent, self.prepared.code
        parent.log_params({f"cfg.{k}": v for k, v in self.config.flat().items()})
        parent.log_text(self.config.to_yaml(), "config.yaml")
        parent.log_text(code.commit + "\n", "git/commit.txt")
        parent.log_text(code.diff, "git/diff.patch")
        source = str(self.config.to_dict().get("data"))
        for split in SPLITS:
            tracks = self.prepared.splits[split]
            parent.log_dataset(split, tracks.digest, source, split, len(tracks))

    def _start_children(self) -> None:
        for expert in self.config.experts:
            own = self.config.for_expert(expert)
            child = self.tracker.start_child(
                self.parent,
                f"expert_{expert}",
                {"config": self.config.name, "expert": str(expert)},
                expected_points=own.epochs,
            )
            child.log_params({f"cfg.{k}": v for k, v in own.flat().items()})
            child.log_text(own.to_yaml(), "config.yaml")
            self.children[expert] = child

    def _fit_all(self) -> dict[int, FitResult]:
        epochs = {k: self.config.for_expert(k).epochs for k in self.config.experts}
        with show_progress("Training", "epochs") as progress:
            done = EpochCounter(epochs, progress)
            with ThreadPoolExecutor(self.jobs) as pool:
                futures = {k: pool.submit(self._fit_one, k, done) for k in epochs}
                try:
                    results = {k: future.result() for k, future in futures.items()}
                except BaseException:
                    self.stop.set()
                    raise
        return {k: result for k, result in results.items() if result is not None}

    def _fit_one(self, expert: int, done: EpochCounter) -> FitResult | None:
        current_thread().name = f"expert_{expert}"
        child, own = self.children[expert], self.config.for_expert(expert)
        path = child.directory / f"expert_{expert}.log"

        def on_epoch(epoch: Epoch) -> None:
            self.mean.add(expert, epoch.metrics)
            done.add(expert)
            output = epoch.val_output
            if output is None:
                return
            if own.plot_every and epoch.number % own.plot_every == 0:
                show = partial(metrics.predictions, val, output)
                self.painter.offer(child, epoch.number, show)

        with ExpertLog(path, current_thread().name):
            try:
                splits = expert_splits(self.prepared.splits, self.kept[expert], expert)
                val = splits["val"]
                data = expert_data(splits["train"], val, own.out_size)
                if own.dist is not None:
                    log_sampling(child, data, own, expert)
                result = train_expert(
                    own,
                    expert,
                    data,
                    child,
                    initial=self.prepared.initial.get(expert),
                    on_epoch=on_epoch,
                    stop=self.stop,
                    device=self.device,
                )
            except NNTError as err:
                log.error("expert %d failed: %s", expert, err)  # noqa: TRY400
                self.errors[expert] = f"expert {expert}: {err}"
                result = None
            finally:
                self.mean.finish(expert, failed=expert in self.errors)
                done.finish(expert)
        child.log_file(path, "logs")
        return result

    def _outcome(self) -> Outcome:
        if self.stop.is_set():
            return "KILLED"
        return "FAILED" if self.errors else "FINISHED"

    def _report(
        self, fits: dict[int, FitResult]
    ) -> tuple[dict[int, ExpertResult], dict[str, dict[str, float]]]:
        if not fits:
            experts = {k: self._expert_result(k, None, {}) for k in self.children}
            return experts, {split: {} for split in JUDGED_SPLITS}
        weights = {k: self._weights(k, result) for k, result in fits.items()}
        self._log_weights(weights)
        self._log_model(weights)
        networks = Networks(weights)
        judged = {split: self._judge(split, networks) for split in SPLITS}
        experts = {
            k: self._expert_result(k, fits.get(k), judged) for k in self.children
        }
        figures = {split: judged[split].metrics() for split in JUDGED_SPLITS}
        last = max(result.epochs for result in fits.values())
        ends = {
            "best_epoch": float(np.mean([r.best_epoch for r in fits.values()])),
            "epochs": float(np.mean([r.epochs for r in fits.values()])),
        }
        self.parent.log_metrics(ends, 0)
        for split in JUDGED_SPLITS:
            _log_final(self.parent, split, figures[split], last)
            if self.config.plot_every:
                log_plots(self.parent, split, judged[split], None)
        curves = plots.learning_curves(self.mean.history)
        self.parent.log_bytes(plots.png(curves), "plots/learning_curves.png")
        for split in SPLITS:
            log_predictions(self.parent, split, judged[split])
        self._log_summary(experts, judged)
        return experts, figures

    def _weights(self, expert: int, result: FitResult) -> ExpertWeights:
        own = self.config.for_expert(expert)
        return ExpertWeights(state=result.state, model=own.model, act=own.act)

    def _log_weights(self, weights: dict[int, ExpertWeights]) -> None:
        for expert, own in weights.items():
            child = self.children[expert]
            write_weights(child.directory / "weights.json", {expert: own})
            child.log_file(child.directory / "weights.json")
        write_weights(self.parent.directory / "weights.json", weights)
        self.parent.log_file(self.parent.directory / "weights.json")

    def _log_model(self, experts: Collection[int]) -> None:
        tracks = self.prepared.splits["test"]
        served = np.flatnonzero(np.isin(tracks.expert, list(experts)) | (-1 in experts))
        _, first = np.unique(tracks.expert[served], return_index=True)
        rows = served[first]
        path = self.parent.directory / "weights.json"
        self.parent.log_model(path, tracks[rows], self.config.out_size)

    def _judge(self, split: str, networks: Networks) -> Judged:
        tracks = self.prepared.splits[split]
        kept = self.config.filter(tracks)
        return Judged(tracks, kept, networks, self.config.loss)

    def _expert_result(
        self, expert: int, result: FitResult | None, judged: Mapping[str, Judged]
    ) -> ExpertResult:
        child = self.children[expert]
        if result is None:
            return ExpertResult(
                run_id=child.run_id, best_epoch=0, epochs=0, stop_reason="failed",
                error=self.errors.get(expert, "not trained"),
            )  # fmt: skip
        figures = {split: judged[split].metrics(expert) for split in JUDGED_SPLITS}
        child.log_metrics(
            {"best_epoch": float(result.best_epoch), "epochs": float(result.epochs)}, 0
        )
        for split in JUDGED_SPLITS:
            _log_final(child, split, figures[split], result.epochs)
            if self.config.plot_every:
                log_plots(child, split, judged[split], expert)
        return ExpertResult(
            run_id=child.run_id,
            best_epoch=result.best_epoch,
            epochs=result.epochs,
            stop_reason=result.stop_reason,
            val=figures["val"],
            test=figures["test"],
        )

    def _log_summary(
        self, experts: dict[int, ExpertResult], judged: Mapping[str, Judged]
    ) -> None:
        digests = {s: t.digest for s, t in self.prepared.splits.items()}
        value = summary(self.config, self.prepared.code, digests, experts, judged)
        path = write_json(value, self.parent.directory / "summary.json")
        self.parent.log_file(path)
        note = describe(self.config, self.description, experts, self.prepared.digest)
        self.parent.set_tags({"mlflow.note.content": note})

    def _finish_children(self, experts: dict[int, ExpertResult]) -> None:
        for expert, child in self.children.items():
            if expert in self.errors:
                child.finish("FAILED", self.errors[expert])
            elif experts[expert].stop_reason == "stopped":
                child.finish("KILLED", "stopped on request")
            else:
                child.finish("FINISHED", experts[expert].stop_reason)


def _log_final(run: Run, split: str, figures: Mapping[str, float], epochs: int) -> None:
    """Log the figures of the best weights.

    Those that have a curve get one point more, after its end; the others are at
    step 0, where MLflow draws bars to compare runs by.
    """
    for name, value in figures.items():
        has_curve = split == "val" and name in CURVES
        run.log_metrics({f"{split}/{name}": value}, epochs + 1 if has_curve else 0)
