"""Train one expert under its own child run."""

from __future__ import annotations

import csv
import io
import logging
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType

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
from nnt.files import write_atomically
from nnt.networks import State
from nnt.tracking import Run
from nnt.training.resume import CHECKPOINT

__all__ = ["ExpertLog", "LogFile", "MetricsFile", "train_expert"]

log = logging.getLogger(__name__)


class MetricsFile:
    """``metrics.csv`` of a run: one line per epoch, every epoch, at once.

    A disk that is full meanwhile costs nothing: lines that it does not take are
    written when the file is closed.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        # Line by line, so that it can be watched.
        self._file = path.open("w", buffering=1, newline="", encoding="utf-8")
        self._is_whole = True
        self._lines: list[str] = []

    def add(self, epoch: int, metrics: dict[str, float]) -> None:
        """Append an epoch; the first one sets the columns."""
        line = io.StringIO(newline="")
        writer = csv.DictWriter(line, ["epoch", *metrics])
        if not self._lines:
            writer.writeheader()
        writer.writerow({"epoch": epoch, **metrics})
        self._lines.append(line.getvalue())
        try:
            self._file.write(self._lines[-1])
        except OSError as err:
            self._fail(err)

    def _fail(self, err: OSError) -> None:
        if self._is_whole:
            log.warning("%s: not written for now: %s", self.path, err)
        self._is_whole = False

    def close(self) -> None:
        """Write out what is left.

        Raises
        ------
        OSError
            The disk is still full.
        """
        try:
            self._file.close()
        except OSError as err:
            self._fail(err)
        if not self._is_whole:
            write_atomically(self.path, "".join(self._lines).encode())


class LogFile(logging.FileHandler):
    """A log that a full disk leaves with gaps, without an error for each line."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
        """Leave out a line that cannot be written."""

    def close(self) -> None:
        """Close the file, whether or not it takes its last lines."""
        with suppress(OSError):
            super().close()


@dataclass
class ExpertLog:
    """Send the log lines of one expert's thread to a file of their own."""

    path: Path
    thread_name: str

    def __enter__(self) -> ExpertLog:
        self._handler = LogFile(self.path, encoding="utf-8")
        self._handler.setFormatter(
            logging.Formatter("%(asctime)s %(levelname)s %(name)s %(message)s")
        )
        self._handler.addFilter(lambda record: record.threadName == self.thread_name)
        logging.getLogger("nnt").addHandler(self._handler)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        logging.getLogger("nnt").removeHandler(self._handler)
        self._handler.close()


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
    """Fit one expert and track every epoch; go on from its checkpoint if it has one.

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
    metrics_file = MetricsFile(run.directory / "metrics.csv")

    def track(epoch: Epoch) -> None:
        metrics_file.add(epoch.number, epoch.metrics)
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
        result.stop_reason,
    )
    return result
