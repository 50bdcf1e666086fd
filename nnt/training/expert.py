"""Train one expert under its child run, and keep its ``metrics.csv``."""

from __future__ import annotations

import csv
import io
import logging
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

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
from nnt.files import write_atomically
from nnt.networks import State
from nnt.tracking import Run
from nnt.training.result import ENDS
from nnt.training.resume import CHECKPOINT

__all__ = ["MetricsFile", "train_expert"]

log = logging.getLogger(__name__)


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
        text = io.StringIO(newline="")
        writer = csv.writer(text)
        for number in numbers:
            if number == 1:
                writer.writerow(["epoch", *self._history.names])
            writer.writerow([number, *self._history[number - 1].values()])
        return text.getvalue().encode()

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
