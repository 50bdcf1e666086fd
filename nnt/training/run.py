"""A whole training, from the configuration to the artifacts of the parent run."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from threading import Event
from typing import Any

from nnt.config import Config, load_config
from nnt.engine import FitResult, one_torch_thread
from nnt.errors import TrainingError
from nnt.files import is_full
from nnt.progress import stop_event
from nnt.tracking import (
    MlflowTracker,
    Outcome,
    Run,
    StoredRun,
    Tracker,
    hide_passwords,
)
from nnt.training.data import SPLITS, TrainingInputs, prepare
from nnt.training.final_report import REPORTED_SPLITS, FinalReport, StoppedError
from nnt.training.fitting import Fitting, most_epochs
from nnt.training.places import Places
from nnt.training.result import Caller, ExpertResult, TrainingResult, TrainingRuns
from nnt.training.resume import (
    Resume,
    check_resumable,
    fetch_checkpoint,
    find_interrupted,
    warn_of_interrupted,
)
from nnt.training.side_by_side import log_to

log = logging.getLogger(__name__)

DESCRIPTION = "nnt.description"
PARAMS_OF_EXPERT = ("learning_rate", "batch_size", "epochs", "model", "optim", "act")


def train(
    config: Config | str | Path | Mapping[str, Any],
    *,
    description: str = "",
    jobs: int | None = None,
    device: str = "auto",
    tracker: Tracker | None = None,
    stop: Event | None = None,
    resume: str | Resume | None = None,
    caller: Caller | None = None,
) -> TrainingResult:
    """Train the experts of a configuration side by side and track everything.

    Parameters
    ----------
    config : Config, str, Path or mapping
        A loaded configuration, or what `load_config` takes.
    description : str
        Goes into the note of the parent run.
    jobs : int, optional
        Experts that train at the same time; default: `workers`, else the number of
        cores. The result does not depend on it.
    device : str
        ``"cpu"``, ``"cuda"``, or ``"auto"``: for each expert the CPU where the
        compiled loops apply, else a GPU if there is one.
    tracker : Tracker, optional
        Default: MLflow, at ``MLFLOW_TRACKING_URI`` or ``mlflow.db`` in the
        working directory.
    stop : threading.Event, optional
        Set it to end after the batches under way; what is done is kept.
    resume : str or Resume, optional
        A run that was interrupted: continue it from its last checkpoints. Its end
        is that of a run that was never interrupted.
    caller : Caller, optional
        What starts the training.

    Returns
    -------
    TrainingResult
        Run IDs, and figures of every expert.

    Raises
    ------
    ConfigError, DataError, TrackingError
        Something cannot be used; nothing has been started.
    TrainingError
        `resume` names a run that has ended, or that differs from this training, or
        `stop` is no event.
    """
    stop = stop_event(stop)
    if not isinstance(config, Config):
        config = load_config(config)
    places = Places.of(config, device)
    tracker = tracker or MlflowTracker(must_exist=resume is not None)
    chosen = Resume(resume) if isinstance(resume, str) else resume
    caller, interrupted = caller or Caller(), None
    try:
        with one_torch_thread(places.backends.values()):
            if chosen is not None:
                interrupted = find_interrupted(chosen.run, tracker)
            elif not caller.parent:
                warn_of_interrupted(tracker)
            inputs = prepare(config, caller.splits)
            if chosen is not None and interrupted is not None:
                check_resumable(interrupted, inputs, force=chosen.force)
                description = description or interrupted.tags.get(DESCRIPTION, "")
            jobs = places.jobs(jobs)
            opened = _opened(inputs, tracker, interrupted, description, caller, stop)
            with opened as runs:
                fitting = Fitting(runs, places.backends, jobs)
                fits = fitting.fit_all()
                ending = _judge_and_end(runs, fitting, fits, description)
    finally:
        tracker.close(stop)
    outcome, experts, figures = ending
    return TrainingResult(
        run_id=runs.parent.run_id,
        experiment_id=runs.parent.experiment_id,
        tracking_uri=hide_passwords(tracker.uri),
        outcome=outcome,
        experts=experts,
        val=figures["val"],
        test=figures["test"],
    )


def _judge_and_end(
    runs: TrainingRuns,
    fitting: Fitting,
    fits: Mapping[int, FitResult],
    description: str,
) -> tuple[Outcome, dict[int, ExpertResult], dict[str, dict[str, float]]]:
    """Keep the weights, and judge them unless the training was cut or stopped."""
    done = fitting.histories.items()
    histories = {k: [epoch.metrics for epoch in epochs] for k, epochs in done}
    report = FinalReport(runs, fits, histories)
    report.log_weights()
    outcome: Outcome = "KILLED"
    reason = "stopped on request"
    if fitting.cut and not runs.stop.is_set():
        outcome, reason = "PRUNED", fitting.cut
    elif not runs.stop.is_set():
        try:
            experts, figures = report.judge(description)
        except StoppedError:
            log.info("stopped before all metrics were computed")
        else:
            return runs.finish(fits), experts, figures
    runs.abandon(outcome, reason)
    return outcome, report.unjudged(), {split: {} for split in REPORTED_SPLITS}


@contextmanager
def _opened(
    inputs: TrainingInputs,
    tracker: Tracker,
    interrupted: StoredRun | None,
    description: str,
    caller: Caller,
    stop: Event,
) -> Iterator[TrainingRuns]:
    """Open the runs of a training, or those of one that was interrupted.

    None is left RUNNING, whatever happens.
    """
    parent = _open_parent(inputs, tracker, interrupted, description, caller)
    runs = TrainingRuns(
        inputs=inputs, parent=parent, children={}, stop=stop, caller=caller
    )
    try:
        if caller.on_start is not None:
            caller.on_start(parent.run_id)
        with log_to(runs.log):
            _log_inputs(inputs, parent)
            before = {} if interrupted is None else interrupted.experts()
            for expert in inputs.config.experts:
                child = _open_child(runs, tracker, expert, before.get(expert))
                runs.children[expert] = child
            yield runs
    except KeyboardInterrupt:
        runs.abandon("KILLED", "interrupted")
        raise
    except BaseException as err:
        runs.abandon("FAILED", f"{type(err).__name__}: {err}")
        if isinstance(err, OSError) and is_full(err):
            raise TrainingError(
                f"{err.filename or parent.directory}: {err.strerror}; make room, "
                f"then continue with the same command and --resume {parent.run_id}"
            ) from err
        raise


def _open_parent(
    inputs: TrainingInputs,
    tracker: Tracker,
    interrupted: StoredRun | None,
    description: str,
    caller: Caller,
) -> Run:
    config = inputs.config
    longest = max(most_epochs(config.for_expert(k)) for k in config.experts)
    if interrupted is not None:
        return tracker.resume_run(interrupted.run_id, longest)
    said = {
        DESCRIPTION: description,
        "nnt.command": caller.command,
        "mlflow.parentRunId": caller.parent,
        **caller.tags,
    }
    return tracker.start_run(
        caller.name or config.name,
        description=description or config.description,
        tags=inputs.tags | {k: v for k, v in said.items() if v},
        expected_points=longest,
    )


def _log_inputs(inputs: TrainingInputs, parent: Run) -> None:
    config, code = inputs.config, inputs.code
    parent.log_params({f"cfg.{k}": v for k, v in config.flat().items()})
    parent.log_text(hide_passwords(config.to_yaml()), "config.yaml")
    parent.log_text(code.commit + "\n", "git/commit.txt")
    parent.log_text(code.diff, "git/diff.patch")
    source = str(config.to_dict().get("data"))
    for split in SPLITS:
        tracks = inputs.splits[split]
        parent.log_dataset(split, tracks.digest, source, split, len(tracks))


def _open_child(
    runs: TrainingRuns, tracker: Tracker, expert: int, before: StoredRun | None
) -> Run:
    whole = runs.inputs.config
    config = whole.for_expert(expert)
    epochs = most_epochs(config)
    if before is not None:
        child = tracker.resume_run(before.run_id, epochs)
        fetch_checkpoint(before, child.directory)
    else:
        tags = {"nnt.kind": "expert", "config": whole.name, "expert": str(expert)}
        child = tracker.start_child(runs.parent, f"expert_{expert}", tags, epochs)
    # Few parameters: MLflow writes all of them over each live image of a run.
    shown = {*PARAMS_OF_EXPERT, *whole.expert_overrides.get(expert, {})}
    values = {k: v for k, v in config.flat().items() if k.split(".")[0] in shown}
    child.log_params({f"cfg.{k}": v for k, v in values.items()})
    child.log_text(hide_passwords(config.to_yaml()), "config.yaml")
    return child
