"""Runs of a sweep in the tracking store: opened, continued, and ended for others."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nnt.errors import TrackingError, TrainingError
from nnt.sweep.record import RECORD, Record
from nnt.sweep.settings import Settings
from nnt.tracking import (
    MlflowTracker,
    Outcome,
    Run,
    StoredRun,
    hide_passwords,
    open_run,
)
from nnt.version import __version__

UNSHOWN = ("config", "space", "description")
"""Settings that are no parameters of the run, or parameters of their own."""


def open_sweep_run(tracker: MlflowTracker, settings: Settings) -> Run:
    """Open the run of a new sweep."""
    config = settings.config
    tags = {
        "nnt.kind": "sweep",
        "config": config.name,
        "nnt.version": __version__,
        "nnt.description": settings.description,
        "nnt.command": "nnt sweep",
    }
    run = tracker.start_run(
        f"sweep of {config.name}",
        description=settings.description,
        tags={key: value for key, value in tags.items() if value},
    )
    run.log_text(hide_passwords(config.to_yaml()), "config.yaml")
    plain = settings.to_dict()
    shown = {k: v for k, v in plain.items() if k not in UNSHOWN}
    run.log_params({f"sweep.{k}": v for k, v in shown.items()})
    run.log_params({f"space.{k}": v for k, v in plain["space"].items()})
    return run


def resume_sweep_run(tracker: MlflowTracker, resume: str) -> Run:
    """Continue the run of a sweep, with its record in the directory of the run."""
    stored = open_run(resume, tracker.uri)
    if stored.tags.get("nnt.kind") != "sweep":
        raise TrainingError(
            f"run {stored.run_id} ({stored.name}) is not a sweep; resume a training "
            "with nnt train --resume"
        )
    tracker.catch_up(stored)
    run = tracker.resume_run(stored.run_id)
    if not (run.directory / RECORD).is_file():
        try:
            stored.download(RECORD, run.directory)
        except TrackingError as err:
            message = (
                f"{run.directory / RECORD}: the record of the sweep does not exist; "
                "resume the sweep in the directory where it was started"
            )
            run.finish("KILLED", message, resumable=True)
            raise TrackingError(message) from err
    return run


def open_record(run: Run, settings: Mapping[str, Any]) -> Record:
    """Open the record of a run with its settings, or what changes of them.

    Raises
    ------
    TrackingError
        The record of an earlier sweep cannot be used; the run is not left RUNNING.
    """
    try:
        record = Record(run.directory / RECORD)
    except TrackingError as err:
        run.finish("KILLED", str(err), resumable=True)
        raise
    record.write("sweep", settings=settings)
    return record


def end_training(
    run: StoredRun, outcome: Outcome, reason: str, *, resumable: bool = False
) -> None:
    """Leave no run of a training RUNNING that no process will end."""
    tracker = MlflowTracker(run.uri)
    try:
        for left in (*run.children(), run):
            if left.status != "FINISHED":
                again = tracker.reopen(left.run_id, left.experiment_id)
                again.finish(outcome, reason, resumable=resumable)
    finally:
        tracker.close()
