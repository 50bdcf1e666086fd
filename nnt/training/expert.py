"""Train one expert under its own child run."""

from __future__ import annotations

import csv
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from types import TracebackType

from nnt.config import Config
from nnt.engine import (
    Epoch,
    ExpertData,
    FitResult,
    Keeper,
    checkpoint_exists,
    fit,
    read_checkpoint,
)
from nnt.tracking import Run
from nnt.training.resume import CHECKPOINT
from nnt.weights import State

__all__ = ["ExpertLog", "MetricsFile", "train_expert"]

log = logging.getLogger(__name__)


class MetricsFile:
    """``metrics.csv`` of a run: one line per epoch, every epoch."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = path.open("w", newline="", encoding="utf-8")
        self._writer: csv.DictWriter[str] | None = None

    def add(self, epoch: int, metrics: dict[str, float]) -> None:
        """Append an epoch; the first one sets the columns."""
        if self._writer is None:
            self._writer = csv.DictWriter(self._file, ["epoch", *metrics])
            self._writer.writeheader()
        self._writer.writerow({"epoch": epoch, **metrics})

    def close(self) -> None:
        """Write out what is left."""
        self._file.close()


@dataclass
class ExpertLog:
    """Send the log lines of one expert's thread to a file of their own."""

    path: Path
    thread_name: str

    def __enter__(self) -> ExpertLog:
        self._handler = logging.FileHandler(self.path, encoding="utf-8")
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
    initial: State | None,
    on_epoch: Callable[[Epoch], None],
    stop: Event,
    device: str,
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
    initial : dict of arrays, optional
        Weights to start from.
    on_epoch : callable
        Called after each epoch has been tracked.
    stop : threading.Event
        Set to end after the current epoch.
    device : str
        ``"cpu"`` or ``"cuda"``.

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
        on_epoch(epoch)

    try:
        result = fit(
            data,
            config,
            expert,
            initial=initial,
            on_epoch=track,
            stop=stop,
            device=device,
            keeper=keeper,
            resume=resume,
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
