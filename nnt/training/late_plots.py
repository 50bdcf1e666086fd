"""The plots of a training that has ended and drew none, such as one of a sweep."""

from __future__ import annotations

from collections.abc import Mapping
from threading import Event

from nnt.config import Config
from nnt.engine import FitResult
from nnt.judging import fit_balances, targets_of
from nnt.networks import read_weights
from nnt.tracking import MlflowTracker, open_run, read_run_weights
from nnt.tracks import Tracks
from nnt.training.data import prepare
from nnt.training.final_report import FinalReport
from nnt.training.fitting import read_epochs
from nnt.training.report import log_sampling
from nnt.training.result import TrainingRuns
from nnt.training.rows import rows_to_train

__all__ = ["draw_plots"]


def draw_plots(
    config: Config,
    run_id: str,
    uri: str,
    stop: Event,
    splits: Mapping[str, Tracks] | None = None,
) -> None:
    """Draw all plots of a training; its parent run gets nothing else, its end stays.

    Set `stop` to draw no more; `splits` are the rows where they have been read before.

    Raises
    ------
    DataError, TrackingError
        The rows or the run cannot be read.
    StoppedError
        `stop` was set on the way.
    """
    stored = open_run(run_id, uri)
    nested = stored.experts()
    numbers = {k: child.metrics for k, child in nested.items()}
    fits = {
        k: FitResult(
            state=weights.state,
            best_epoch=int(numbers[k]["best_epoch"]),
            epochs=int(numbers[k]["epochs"]),
            stop_reason="epochs",
        )
        for k, weights in read_weights(read_run_weights(stored)).items()
    }
    inputs = prepare(config, splits)
    tracker = MlflowTracker(uri)
    try:
        children = {
            k: tracker.reopen(nested[k].run_id, nested[k].experiment_id) for k in fits
        }
        for expert, child in children.items():
            of_expert, rows = config.for_expert(expert), rows_to_train(inputs, expert)
            y_train, _ = targets_of(rows, of_expert, fit_balances(rows, of_expert))
            log_sampling(child, y_train[:, 0], of_expert, expert)
        parent = tracker.reopen(stored.run_id, stored.experiment_id)
        histories = {k: read_epochs(nested[k]) for k in fits}
        training = TrainingRuns(
            inputs=inputs, parent=parent, children=children, stop=stop
        )
        best = {k: (fit.best_epoch, numbers[k]["val/loss"]) for k, fit in fits.items()}
        FinalReport(training, fits, histories).draw(best)
    finally:
        tracker.close(stop)
