"""The fits of all experts of a training, side by side, each with its metrics.csv."""

from __future__ import annotations

import csv
import io
import logging
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from threading import Event, current_thread
from typing import Any

from nnt.config import Config
from nnt.engine import (
    BackendChoice,
    Epoch,
    ExpertData,
    FitResult,
    Hooks,
    Keeper,
    checkpoint_exists,
    fit,
    read_checkpoint,
)
from nnt.errors import NNTError
from nnt.files import write_atomically
from nnt.networks import State
from nnt.progress import show_progress
from nnt.tracking import Run, StoredRun
from nnt.training.report import Painter, log_class_weights, log_sampling
from nnt.training.result import ENDS, TrainingRuns
from nnt.training.resume import CHECKPOINT
from nnt.training.rows import rows_of_expert
from nnt.training.side_by_side import (
    MeanOverExperts,
    Turns,
    log_to,
    run_side_by_side,
)

log = logging.getLogger(__name__)


def most_epochs(config: Config) -> int:
    """Epochs that an expert does at most, restarts included."""
    return config.epochs * config.restarts


class MetricsFile:
    """One line for each epoch that is added to a history, on the disk at once.

    A disk that is full meanwhile costs nothing: the file is then rewritten when it
    is closed. What was there before is replaced.
    """

    def __init__(self, path: Path, history: Sequence[Epoch]) -> None:
        self.path = path
        self._history = history
        self._file = path.open("wb", buffering=0)
        self._is_whole = True

    def write_last(self) -> None:
        """Write the last epoch of the history."""
        lines = self._lines(len(self._history))
        try:
            self._is_whole &= self._file.write(lines) == len(lines)
        except OSError as err:
            if self._is_whole:
                log.warning("%s: could not be written: %s", self.path, err)
            self._is_whole = False

    def _lines(self, first: int) -> bytes:
        """Lines from an epoch on, with the head before the first one."""
        rows: list[list[object]] = [
            [epoch.number, *epoch.metrics.values()]
            for epoch in self._history[first - 1 :]
        ]
        if first == 1:
            rows.insert(0, ["epoch", *self._history[0].metrics])
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
            write_atomically(self.path, self._lines(1))


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

    Parameters are as for `fit`, but for `run`, which gets the epochs and keeps the
    checkpoints; `on_epoch` is called after an epoch has been tracked.

    Raises
    ------
    TrainingError
        There are no rows, the loss is not finite, or no checkpoint is whole.
    """
    rows = [f"{len(x):,}" for x in (data.x_train, data.x_val)]
    log.info("expert %d: %s rows to train, %s to validate", expert, *rows)
    keeper = Keeper(run.directory / CHECKPOINT)
    resume = read_checkpoint(keeper.path)
    if resume is not None:
        log.info("expert %d: resumed after epoch %d", expert, len(resume.epochs))
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
    best, done = result.best_epoch, result.epochs
    ending = ENDS.get(result.stop_reason, result.stop_reason)
    log.info("expert %d: best epoch %d of %d (%s)", expert, best, done, ending)
    return result


class Fitting:
    """Fits every expert in a thread and reports its epochs.

    The parent run gets the means over experts; what the training is part of hears of
    every epoch, and may cut it.
    """

    def __init__(
        self, training: TrainingRuns, backends: Mapping[int, BackendChoice], jobs: int
    ) -> None:
        self.cut = ""
        """Why the training is cut; empty while it is not."""
        self.histories: dict[int, list[Epoch]] = {k: [] for k in training.children}
        """Every epoch of each expert."""
        self._training = training
        self._backends = backends
        self._jobs = jobs
        self._is_part = bool(training.caller.parent)
        self._report = training.caller.report
        self._crashed = Event()
        self._painter = Painter()
        takes_turns = self._report is not None and jobs == 1
        self._turns = Turns(self.histories) if takes_turns else None

    def fit_all(self) -> dict[int, FitResult]:
        """Fit all experts; one that fails leaves the others alone.

        Raises
        ------
        BaseException
            What is not an error of one expert: all have then ended.
        """
        config, experts = self._training.inputs.config, self._training.children
        epochs = {k: most_epochs(config.for_expert(k)) for k in experts}
        try:
            with (
                show_progress("Training", "epochs") as progress,
                ThreadPoolExecutor(self._jobs, "validation") as pool,
            ):
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
        if self._report is not None and not self._should_stop():
            self.cut = self._report(epoch, means)

    def _fit(
        self, expert: int, mean: MeanOverExperts, pool: Executor | None
    ) -> FitResult:
        name = current_thread().name = f"expert_{expert}"
        child = self._training.children[expert]
        path = child.directory / f"{name}.log"
        turns = nullcontext() if self._turns is None else self._turns.taken_by(expert)
        with log_to(path, name), turns:
            try:
                result = self._train(expert, mean, pool)
            except NNTError as err:
                log.error("expert %d failed: %s", expert, err)  # noqa: TRY400
                result = FitResult(
                    state={}, best_epoch=0, epochs=0, stop_reason="failed",
                    error=f"expert {expert}: {err}",
                )  # fmt: skip
            if result.stop_reason != "stopped":
                # Of one that was stopped, more epochs may come in another process.
                mean.finish(expert)
        child.log_file(path, "logs")
        return result

    def _train(
        self, expert: int, mean: MeanOverExperts, pool: Executor | None
    ) -> FitResult:
        inputs, child = self._training.inputs, self._training.children[expert]
        config = inputs.config.for_expert(expert)
        rows = rows_of_expert(inputs, expert)
        log_class_weights(child, rows.data, rows.balances)
        data = rows.data
        if inputs.teachers is not None:
            data = inputs.teachers.teach(data, config, expert)
        if config.dist is not None and not self._is_part:
            log_sampling(child, data.y_train[:, 0], config, expert)

        def on_epoch(epoch: Epoch) -> None:
            # What a checkpoint holds was done by another process.
            mean.update(is_new=epoch.val_output is not None)
            if self._turns is not None:
                self._turns.wait(expert)
            every = 0 if self._is_part else config.plot_every
            if epoch.val_output is not None and every and epoch.number % every == 0:
                shown = partial(rows.predictions, epoch.val_output)
                self._painter.offer(child, epoch.number, shown)

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
            initial=inputs.initial.get(expert),
        )
