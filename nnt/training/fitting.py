"""The fits of all experts of a training, side by side, each with its metrics.csv."""

from __future__ import annotations

import csv
import io
import logging
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from threading import Event, current_thread
from typing import Any

from nnt import metrics
from nnt.config import Config
from nnt.engine import (
    BackendChoice,
    Epoch,
    ExpertData,
    FitResult,
    History,
    Hooks,
    Keeper,
    checkpoint_exists,
    fit,
    read_checkpoint,
)
from nnt.errors import NNTError
from nnt.files import write_atomically
from nnt.judging import (
    MAIN,
    REFERENCE,
    Balances,
    Outputs,
    by_name,
    expert_mask,
    rows_of,
)
from nnt.networks import State
from nnt.progress import show_progress
from nnt.tracking import Run, StoredRun
from nnt.tracks import Tracks
from nnt.training.borrowing import expert_data, rows_to_train
from nnt.training.report import Painter, log_class_weights, log_sampling
from nnt.training.result import ENDS, ExpertFailure, TrainingRuns
from nnt.training.resume import CHECKPOINT
from nnt.training.side_by_side import (
    MeanOverExperts,
    Turns,
    expert_log,
    run_side_by_side,
)

__all__ = ["Fitting", "MetricsFile", "most_epochs", "read_epochs", "train_expert"]

log = logging.getLogger(__name__)


def most_epochs(config: Config) -> int:
    """Epochs that an expert does at most, restarts included."""
    return config.epochs * config.restarts


class MetricsFile:
    """One line per epoch, every epoch, on the disk as soon as it is done.

    A disk that is full meanwhile costs nothing: the file is then rewritten when it
    is closed.

    Parameters
    ----------
    path : Path
        The file; what was there is replaced.
    history : History
        Of the expert; others add epochs to it.
    """

    def __init__(self, path: Path, history: History) -> None:
        self.path = path
        self._history = history
        self._file = path.open("wb", buffering=0)
        self._is_whole = True

    def write_last(self) -> None:
        """Write the last epoch of the history."""
        number = len(self._history)
        lines = self._lines([number])
        try:
            self._is_whole &= self._file.write(lines) == len(lines)
        except OSError as err:
            if self._is_whole:
                log.warning("%s: could not be written: %s", self.path, err)
            self._is_whole = False

    def _lines(self, numbers: Iterable[int]) -> bytes:
        rows: list[list[object]] = []
        for number in numbers:
            if number == 1:
                rows.append(["epoch", *self._history.names])
            rows.append([number, *self._history[number - 1].values()])
        return "".join(",".join(map(str, row)) + "\r\n" for row in rows).encode()

    def close(self) -> None:
        """Write what is missing.

        Raises
        ------
        OSError
            The disk is still full.
        """
        self._file.close()
        if not self._is_whole:
            numbers = range(1, len(self._history) + 1)
            write_atomically(self.path, self._lines(numbers))


def read_epochs(child: StoredRun) -> list[dict[str, float]]:
    """Read the ``metrics.csv`` of an expert, as far as its cells are numbers.

    Raises
    ------
    TrackingError
        There is none.
    """
    rows = csv.DictReader(io.StringIO(child.read_text("metrics.csv")))
    return [
        {k: x for k, v in row.items() if (x := _number(v)) is not None} for row in rows
    ]


def _number(text: Any) -> float | None:
    try:
        return float(text)
    except (TypeError, ValueError):
        return None


def train_expert(
    config: Config,
    expert: int,
    data: ExpertData,
    run: Run,
    *,
    hooks: Hooks,
    backend: BackendChoice | None = None,
    initial: State | None = None,
) -> FitResult:
    """Fit one expert and track every epoch; continue from its checkpoint if any.

    Parameters
    ----------
    config : Config
        That of this expert, as `Config.for_expert` gives it.
    expert : int
        -1 .. 4.
    data : ExpertData
        Its rows.
    run : Run
        Its child run.
    hooks : Hooks
        How the fit is watched and stopped; `on_epoch` is called after an epoch has
        been tracked. Its checkpoints are kept with the run.
    backend : BackendChoice, optional
        What moves the weights; default: as for `fit`.
    initial : dict of arrays, optional
        Weights to start from.

    Raises
    ------
    TrainingError
        There are no rows, the loss is not finite, or no checkpoint is whole.
    """
    log.info(
        "expert %d: %s rows to train, %s to validate",
        expert,
        f"{len(data.x_train):,}",
        f"{len(data.x_val):,}",
    )
    keeper = Keeper(run.directory / CHECKPOINT)
    resume = read_checkpoint(keeper.path)
    if resume is not None:
        log.info("expert %d: resumed after epoch %d", expert, len(resume.times_ms))
    metrics_file = MetricsFile(run.directory / "metrics.csv", hooks.history)

    def track(epoch: Epoch) -> None:
        metrics_file.write_last()
        run.log_metrics(epoch.metrics, epoch.number, epoch.time_ms)
        hooks.on_epoch(epoch)

    try:
        result = fit(
            data,
            config,
            expert,
            initial=initial,
            backend=backend,
            resume=resume,
            hooks=replace(hooks, on_epoch=track, keeper=keeper),
        )
    finally:
        metrics_file.close()
        run.log_file(metrics_file.path)
        if checkpoint_exists(keeper.path):
            run.log_file(keeper.path, CHECKPOINT.parent.as_posix())
    log.info(
        "expert %d: best epoch %d of %d (%s)",
        expert,
        result.best_epoch,
        result.epochs,
        ENDS.get(result.stop_reason, result.stop_reason),
    )
    return result


class Fitting:
    """Fits every expert in a thread and reports its epochs.

    Parameters
    ----------
    training : TrainingRuns
        Configuration, rows and runs. The parent gets the means over experts; what the
        training is part of hears of every epoch, and may cut it.
    backends : mapping of int to BackendChoice
        What moves the weights of each expert.
    jobs : int
        Experts that are fitted at the same time.
    """

    def __init__(
        self,
        training: TrainingRuns,
        backends: Mapping[int, BackendChoice],
        jobs: int,
    ) -> None:
        self.cut = ""
        """Why the training is cut; empty while it is not."""
        self.histories = {expert: History() for expert in training.children}
        """Metrics of every epoch of each expert."""
        self._training = training
        self._inputs = training.inputs
        self._part = training.part
        self._backends = backends
        self._jobs = jobs
        self._crashed = Event()
        self._painter = Painter()
        is_reported = self._part is not None and self._part.report is not None
        self._turns = Turns(self.histories) if is_reported and jobs == 1 else None

    def fit_all(self) -> dict[int, FitResult | ExpertFailure]:
        """Fit all experts; one that fails leaves the others alone.

        Raises
        ------
        BaseException
            What is not an error of one expert: all have then ended.
        """
        config, experts = self._inputs.config, self._training.children
        try:
            with (
                show_progress("Training", "epochs") as progress,
                ThreadPoolExecutor(self._jobs, "validation") as pool,
            ):
                epochs = {k: most_epochs(config.for_expert(k)) for k in experts}
                mean = MeanOverExperts(self.histories, self._log_mean, progress, epochs)
                # With one job, what is done has an order that can be relied on.
                own_pool = pool if self._jobs > 1 else None
                tasks = {k: partial(self._fit, k, mean, own_pool) for k in experts}
                n_threads = self._jobs if self._turns is None else len(tasks)
                return run_side_by_side(tasks, n_threads, self._crashed)
        finally:
            self._painter.close(draw=not self._should_stop())

    def _should_stop(self) -> bool:
        """Whether the user has asked to stop, an expert has crashed, or it is cut."""
        return self._training.stop.is_set() or self._crashed.is_set() or bool(self.cut)

    def _log_mean(self, means: dict[str, float], epoch: int) -> None:
        self._training.parent.log_metrics(means, epoch)
        report = None if self._part is None else self._part.report
        if report is not None and not self._should_stop():
            self.cut = report(epoch, means)

    def _fit(
        self, expert: int, mean: MeanOverExperts, pool: ThreadPoolExecutor | None
    ) -> FitResult | ExpertFailure:
        current_thread().name = f"expert_{expert}"
        child = self._training.children[expert]
        path = child.directory / f"expert_{expert}.log"
        turns = nullcontext() if self._turns is None else self._turns.taken_by(expert)
        with expert_log(path, current_thread().name), turns:
            outcome: FitResult | ExpertFailure
            try:
                outcome = self._train(expert, mean, pool)
            except NNTError as err:
                log.error("expert %d failed: %s", expert, err)  # noqa: TRY400
                outcome = ExpertFailure(f"expert {expert}: {err}")
            if isinstance(outcome, ExpertFailure) or outcome.stop_reason != "stopped":
                # Of one that was stopped, more epochs may come in another process.
                mean.finish(expert)
        child.log_file(path, "logs")
        return outcome

    def _train(
        self, expert: int, mean: MeanOverExperts, pool: ThreadPoolExecutor | None
    ) -> FitResult:
        child, config = (
            self._training.children[expert],
            self._inputs.config.for_expert(expert),
        )
        data, val, reference = self._rows(expert, config)
        if config.dist is not None and self._part is None:
            log_sampling(child, data.y_train[:, 0], config, expert)

        def on_epoch(epoch: Epoch) -> None:
            # What a checkpoint holds was done by another process.
            mean.update(is_new=epoch.val_output is not None)
            if self._turns is not None:
                self._turns.wait(expert)
            output = None if self._part is not None else epoch.val_output
            every = config.plot_every
            if output is None or not every or epoch.number % every:
                return
            networks: dict[str, Outputs] = {MAIN: by_name(config.form.outputs, output)}
            if reference is not None:
                networks[REFERENCE] = reference
            self._painter.offer(
                child, epoch.number,
                lambda: {k: metrics.predictions(val, v) for k, v in networks.items()},
            )  # fmt: skip

        return train_expert(
            config,
            expert,
            data,
            child,
            hooks=Hooks(
                on_epoch=on_epoch,
                should_stop=self._should_stop,
                validation_pool=pool,
                history=self.histories[expert],
            ),
            backend=self._backends[expert],
            initial=self._inputs.initial.get(expert),
        )

    def _rows(
        self, expert: int, config: Config
    ) -> tuple[ExpertData, Tracks, Outputs | None]:
        """Rows of an expert; those to validate as tracks, with reference outputs."""
        whole, reference = self._inputs.splits["val"], self._inputs.references["val"]
        rows = config.filter.mask(whole) & expert_mask(whole, expert)
        val = whole[rows]
        if reference is not None:
            reference = rows_of(reference, rows)
        train = rows_to_train(self._inputs, expert)
        balances = Balances.fit(train, config)
        data = expert_data(train, val, config, balances, reference)
        log_class_weights(self._training.children[expert], data, balances)
        if self._inputs.teachers is not None:
            data = self._inputs.teachers.teach(data, config, expert)
        return data, val, reference
