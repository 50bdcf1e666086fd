"""A whole training, from the configuration to the artifacts of the parent run."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event
from typing import Any

from nnt.config import Config, load_config
from nnt.engine import BackendChoice, FitResult, one_torch_thread
from nnt.errors import TrainingError
from nnt.files import is_full
from nnt.progress import stop_event
from nnt.tracking import MlflowTracker, Outcome, Run, Tracker, hide_passwords
from nnt.training.data import SPLITS, TrainingInputs, prepare
from nnt.training.final_report import REPORTED_SPLITS, FinalReport, StoppedError
from nnt.training.fitting import Fitting, most_epochs
from nnt.training.places import Places
from nnt.training.result import (
    ExpertFailure,
    ExpertResult,
    Part,
    TrainingResult,
    TrainingRuns,
)
from nnt.training.resume import (
    InterruptedRun,
    Resume,
    find_interrupted,
    warn_of_interrupted,
)
from nnt.training.side_by_side import training_log

__all__ = ["Caller", "train"]

log = logging.getLogger(__name__)

STOPPED = "stopped on request"
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
    caller = caller or Caller()
    part = caller.part
    try:
        with one_torch_thread(places.backends.values()):
            interrupted = None
            if resume is not None:
                chosen = Resume(resume) if isinstance(resume, str) else resume
                interrupted = find_interrupted(chosen, tracker)
            elif part is None:
                warn_of_interrupted(tracker)
            inputs = prepare(config, part.splits if part else None)
            if interrupted is not None:
                interrupted.check(inputs)
            before = interrupted.description if interrupted else ""
            training = _Training(
                inputs=inputs,
                tracker=tracker,
                interrupted=interrupted,
                backends=places.backends,
                jobs=places.jobs(jobs),
                stop=stop,
                description=description or before,
                caller=caller,
            )
            return training.run()
    finally:
        tracker.close(stop)


def _params_of_expert(
    of_expert: Config, whole: Config, expert: int
) -> dict[str, object]:
    """Few parameters: MLflow writes all of them over each live image of a run."""
    shown = {*PARAMS_OF_EXPERT, *whole.expert_overrides.get(expert, {})}
    flat = of_expert.flat().items()
    return {f"cfg.{k}": v for k, v in flat if k.partition(".")[0] in shown}


@dataclass(kw_only=True)
class _Training:
    """The steps of one training, in the order in which they are defined."""

    inputs: TrainingInputs
    tracker: Tracker
    interrupted: InterruptedRun | None
    backends: Mapping[int, BackendChoice]
    jobs: int
    stop: Event
    description: str
    caller: Caller
    children: dict[int, Run] = field(default_factory=dict)

    @property
    def config(self) -> Config:
        """That of the training."""
        return self.inputs.config

    def run(self) -> TrainingResult:
        """Leave no run RUNNING, whatever happens."""
        self.parent = self._open_parent()
        try:
            if self.caller.on_start is not None:
                self.caller.on_start(self.parent.run_id)
            with training_log(self.parent.directory / "app.log"):
                return self._run()
        except KeyboardInterrupt:
            self._abandon("KILLED", "interrupted")
            raise
        except BaseException as err:
            self._abandon("FAILED", f"{type(err).__name__}: {err}")
            if isinstance(err, OSError) and is_full(err):
                raise TrainingError(
                    f"{err.filename or self.parent.directory}: {err.strerror}; make "
                    "room, then continue with the same command and "
                    f"--resume {self.parent.run_id}"
                ) from err
            raise

    def _open_parent(self) -> Run:
        part = self.caller.part
        longest = max(
            most_epochs(self.config.for_expert(k)) for k in self.config.experts
        )
        if self.interrupted is not None:
            return self.tracker.resume_run(self.interrupted.run_id, longest)
        said = {"nnt.description": self.description, "nnt.command": self.caller.command}
        if part is not None:
            said |= {**part.tags, "mlflow.parentRunId": part.parent}
        return self.tracker.start_run(
            part.name if part else self.config.name,
            description=self.description or self.config.description,
            tags=self.inputs.tags | {k: v for k, v in said.items() if v},
            expected_points=longest,
        )

    def _run(self) -> TrainingResult:
        self._log_inputs()
        self._open_children()
        runs = TrainingRuns(
            inputs=self.inputs,
            parent=self.parent,
            children=self.children,
            stop=self.stop,
            part=self.caller.part,
        )
        fitting = Fitting(runs, self.backends, self.jobs)
        outcomes = fitting.fit_all()
        histories = {k: list(epochs) for k, epochs in fitting.histories.items()}
        report = FinalReport(runs, outcomes, histories)
        report.log_weights()
        if fitting.cut and not self.stop.is_set():
            return self._end_early("PRUNED", fitting.cut, report.unjudged())
        if not self.stop.is_set():
            try:
                experts, figures = report.judge(self.description)
            except StoppedError:
                log.info("stopped before all metrics were computed")
            else:
                return self._finish(experts, figures, outcomes)
        return self._end_early("KILLED", STOPPED, report.unjudged())

    def _log_inputs(self) -> None:
        parent, code = self.parent, self.inputs.code
        parent.log_params({f"cfg.{k}": v for k, v in self.config.flat().items()})
        parent.log_text(hide_passwords(self.config.to_yaml()), "config.yaml")
        parent.log_text(code.commit + "\n", "git/commit.txt")
        parent.log_text(code.diff, "git/diff.patch")
        source = str(self.config.to_dict().get("data"))
        for split in SPLITS:
            tracks = self.inputs.splits[split]
            parent.log_dataset(split, tracks.digest, source, split, len(tracks))

    def _open_children(self) -> None:
        for expert in self.config.experts:
            of_expert = self.config.for_expert(expert)
            child = self._open_child(expert, most_epochs(of_expert))
            child.log_params(_params_of_expert(of_expert, self.config, expert))
            child.log_text(hide_passwords(of_expert.to_yaml()), "config.yaml")
            self.children[expert] = child

    def _open_child(self, expert: int, epochs: int) -> Run:
        if self.interrupted is not None and expert in self.interrupted.children:
            stored = self.interrupted.children[expert]
            child = self.tracker.resume_run(stored.run_id, expected_points=epochs)
            self.interrupted.fetch_checkpoint(expert, child.directory)
            return child
        return self.tracker.start_child(
            self.parent,
            f"expert_{expert}",
            {
                "nnt.kind": "expert",
                "config": self.config.name,
                "expert": str(expert),
            },
            expected_points=epochs,
        )

    def _finish(
        self,
        experts: dict[int, ExpertResult],
        figures: dict[str, dict[str, float]],
        outcomes: Mapping[int, FitResult | ExpertFailure],
    ) -> TrainingResult:
        reasons = []
        for expert, child in self.children.items():
            outcome = outcomes[expert]
            if isinstance(outcome, ExpertFailure):
                child.finish("FAILED", outcome.reason)
                reasons.append(outcome.reason)
            else:
                child.finish("FINISHED", outcome.stop_reason)
        whole: Outcome = "FAILED" if reasons else "FINISHED"
        self.parent.log_file(self.parent.directory / "app.log", "logs")
        self.parent.finish(whole, "; ".join(reasons))
        return self._result(whole, experts, figures)

    def _end_early(
        self, outcome: Outcome, reason: str, experts: dict[int, ExpertResult]
    ) -> TrainingResult:
        self._abandon(outcome, reason)
        return self._result(outcome, experts, {split: {} for split in REPORTED_SPLITS})

    def _abandon(self, outcome: Outcome, reason: str) -> None:
        """End all runs; unless the training was cut, they can be resumed."""
        resumable = outcome != "PRUNED"
        for child in self.children.values():
            child.finish(outcome, reason, resumable=resumable)
        path = self.parent.directory / "app.log"
        if path.is_file():
            self.parent.log_file(path, "logs")
        self.parent.finish(outcome, reason, resumable=resumable)

    def _result(
        self,
        outcome: Outcome,
        experts: dict[int, ExpertResult],
        figures: dict[str, dict[str, float]],
    ) -> TrainingResult:
        return TrainingResult(
            run_id=self.parent.run_id,
            experiment_id=self.parent.experiment_id,
            tracking_uri=hide_passwords(self.tracker.uri),
            outcome=outcome,
            experts=experts,
            val=figures["val"],
            test=figures["test"],
        )
