"""A whole training, from the configuration to the artifacts of the parent run."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import Any

from nnt.config import Config, load_config
from nnt.engine import FitResult, one_torch_thread
from nnt.errors import TrainingError
from nnt.files import is_full
from nnt.progress import stop_event
from nnt.tracking import MlflowTracker, Outcome, Run, Tracker, hide_passwords
from nnt.training.data import SPLITS, TrainingInputs, prepare
from nnt.training.final_report import REPORTED_SPLITS, FinalReport, StoppedError
from nnt.training.fitting import Fitting, most_epochs
from nnt.training.places import Places
from nnt.training.result import ExpertResult, Part, TrainingResult, TrainingRuns
from nnt.training.resume import (
    InterruptedRun,
    Resume,
    find_interrupted,
    warn_of_interrupted,
)
from nnt.training.side_by_side import log_of_training

log = logging.getLogger(__name__)

PARAMS_OF_EXPERT = ("learning_rate", "batch_size", "epochs", "model", "optim", "act")


@dataclass(frozen=True, kw_only=True, slots=True)
class Caller:
    """What starts a training, for whoever wants to be known to it."""

    command: str = ""
    """The same from a shell; kept with the run, so that it can be named to someone who
    finds the run interrupted."""
    on_start: Callable[[str], None] | None = None
    """Called with the ID of the parent run as soon as there is one."""
    part: Part | None = None
    """What the training is one of; then it draws no plots."""


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
    caller, interrupted = caller or Caller(), None
    try:
        with one_torch_thread(places.backends.values()):
            if resume is not None:
                chosen = Resume(resume) if isinstance(resume, str) else resume
                interrupted = find_interrupted(chosen, tracker)
            elif caller.part is None:
                warn_of_interrupted(tracker)
            inputs = prepare(config, caller.part.splits if caller.part else None)
            if interrupted is not None:
                interrupted.check(inputs)
                description = description or interrupted.description
            jobs = places.jobs(jobs)
            opener = _Opener(inputs, tracker, interrupted, description, caller)
            with opener.runs(stop) as runs:
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
    histories = {k: list(epochs) for k, epochs in fitting.histories.items()}
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


@dataclass(frozen=True, slots=True)
class _Opener:
    """Opens the runs of a training, or those of one that was interrupted."""

    inputs: TrainingInputs
    tracker: Tracker
    interrupted: InterruptedRun | None
    description: str
    caller: Caller

    @contextmanager
    def runs(self, stop: Event) -> Iterator[TrainingRuns]:
        """Open them; leave none RUNNING, whatever happens."""
        parent, part = self._open_parent(), self.caller.part
        runs = TrainingRuns(
            inputs=self.inputs, parent=parent, children={}, stop=stop, part=part
        )
        try:
            if self.caller.on_start is not None:
                self.caller.on_start(parent.run_id)
            with log_of_training(runs.log):
                self._log_inputs(parent)
                for expert in self.inputs.config.experts:
                    runs.children[expert] = self._open_child(expert, parent)
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

    def _open_parent(self) -> Run:
        config, part = self.inputs.config, self.caller.part
        longest = max(most_epochs(config.for_expert(k)) for k in config.experts)
        if self.interrupted is not None:
            return self.tracker.resume_run(self.interrupted.run_id, longest)
        said = {"nnt.description": self.description, "nnt.command": self.caller.command}
        if part is not None:
            said |= {**part.tags, "mlflow.parentRunId": part.parent}
        return self.tracker.start_run(
            part.name if part else config.name,
            description=self.description or config.description,
            tags=self.inputs.tags | {k: v for k, v in said.items() if v},
            expected_points=longest,
        )

    def _log_inputs(self, parent: Run) -> None:
        config, code = self.inputs.config, self.inputs.code
        parent.log_params({f"cfg.{k}": v for k, v in config.flat().items()})
        parent.log_text(hide_passwords(config.to_yaml()), "config.yaml")
        parent.log_text(code.commit + "\n", "git/commit.txt")
        parent.log_text(code.diff, "git/diff.patch")
        source = str(config.to_dict().get("data"))
        for split in SPLITS:
            tracks = self.inputs.splits[split]
            parent.log_dataset(split, tracks.digest, source, split, len(tracks))

    def _open_child(self, expert: int, parent: Run) -> Run:
        whole = self.inputs.config
        config = whole.for_expert(expert)
        epochs, before = most_epochs(config), self.interrupted
        if before is not None and expert in before.children:
            child = self.tracker.resume_run(before.children[expert].run_id, epochs)
            before.fetch_checkpoint(expert, child.directory)
        else:
            tags = {"nnt.kind": "expert", "config": whole.name, "expert": str(expert)}
            child = self.tracker.start_child(parent, f"expert_{expert}", tags, epochs)
        # Few parameters: MLflow writes all of them over each live image of a run.
        shown = {*PARAMS_OF_EXPERT, *whole.expert_overrides.get(expert, {})}
        values = {k: v for k, v in config.flat().items() if k.split(".")[0] in shown}
        child.log_params({f"cfg.{k}": v for k, v in values.items()})
        child.log_text(hide_passwords(config.to_yaml()), "config.yaml")
        return child
