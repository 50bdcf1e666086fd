"""Train one expert under its own child run."""

from __future__ import annotations

import logging
from dataclasses import replace

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
from nnt.networks import State
from nnt.tracking import Run
from nnt.training.metrics_file import MetricsFile
from nnt.training.result import ENDS
from nnt.training.resume import CHECKPOINT

__all__ = ["train_expert"]

log = logging.getLogger(__name__)


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
