"""A whole sweep: trials are asked for, trained by workers, recorded and reported."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event
from typing import Any

from nnt.config import Config, load_config
from nnt.errors import TrainingError, did_you_mean
from nnt.progress import show_progress
from nnt.sweep.local import Executor, LocalExecutor
from nnt.sweep.opening import new_settings, open_sweep_run
from nnt.sweep.record import RECORD, Record, Trial
from nnt.sweep.report import write_report
from nnt.sweep.result import SweepResult
from nnt.sweep.space import Space, load_space
from nnt.sweep.study import Search
from nnt.sweep.worker import Message
from nnt.tracking import MlflowTracker, Outcome, Run, hide_passwords, open_run

__all__ = ["sweep"]

log = logging.getLogger(__name__)

WAKE_EVERY_S = 0.5
MAX_DEATHS = 3
"""Workers that one trial may cost."""
MAX_AWAY = 20
AWAY_S = 5.0
"""How often, and after how long, a trial is tried again that no store takes."""


@dataclass
class Progress:
    """What this process knows of a trial that has not ended."""

    trial: Trial
    begun: float = field(default_factory=time.monotonic)
    is_repeated: bool = False
    """Whether an earlier worker may have begun it."""
    n_deaths: int = 0
    n_away: int = 0
    not_before: float = 0.0


def sweep(
    config: Config | str | Path | Mapping[str, Any] | None = None,
    space: Space | str | Path | Mapping[str, Any] | None = None,
    trials: int | None = None,
    *,
    metrics: Sequence[str] = ("val/loss",),
    directions: Sequence[str] = (),
    sampler: str = "tpe",
    pruner: str | None = None,
    jobs: int = 1,
    scheduler: str = "",
    timeout: float | None = None,
    seed: int = 1,
    resume: str | None = None,
    description: str = "",
    device: str = "auto",
    command: str = "",
    stop: Event | None = None,
    on_start: Callable[[str], None] | None = None,
) -> SweepResult:
    """Search for a better configuration by many trainings.

    Parameters
    ----------
    config : Config, str, Path or mapping
        What is varied; as `nnt.load_config` takes it.
    space : Space, str, Path or mapping
        How; as `load_space` takes it.
    trials : int
        How many in all.
    metrics : sequence of str
        What is searched for, as runs log it; of several, those trials are best that
        no other one beats in all.
    directions : sequence of str
        ``"minimize"`` or ``"maximize"`` for each metric; default: what is better for
        it.
    sampler : str
        ``"tpe"``, ``"random"``, ``"grid"``, ``"qmc"`` or ``"nsga2"``.
    pruner : str, optional
        ``"median"``, ``"hyperband"`` or ``"none"``; default: median where there is
        one metric that every epoch has.
    jobs : int
        Processes of this machine that train.
    scheduler : str
        Address of a Dask scheduler, whose workers train instead.
    timeout : float, optional
        Seconds after which no further trial begins.
    seed : int
        Root of the random numbers of the search.
    resume : str, optional
        Run of a sweep to go on in; all settings but `trials` are its own.
    description : str
        What the sweep is for.
    device : str
        As for `nnt.train`.
    command : str
        What starts this sweep from a shell.
    stop : threading.Event, optional
        Set it to end in order.
    on_start : callable, optional
        Called with the ID of the run of the sweep as soon as there is one.

    Raises
    ------
    ConfigError
        Naming every mistake in the configuration or the space; nothing has begun.
    TrackingError, TrainingError
        The store does not answer, or `resume` names no sweep that can go on.
    """
    settings: dict[str, Any] = {}
    if resume is None:
        settings = new_settings(
            config, space, trials, metrics, directions, sampler, pruner, seed, device
        )
    executor: Executor
    if scheduler:
        raise TrainingError("a sweep cannot use a Dask scheduler yet; use jobs")
    executor = LocalExecutor(jobs)
    tracker = MlflowTracker()
    try:
        run = open_sweep_run(tracker, settings, resume, description, command)
        record = Record(run.directory / RECORD)
        if resume is None:
            record.write("sweep", settings=settings)
        elif trials is not None:
            record.write("sweep", settings={"trials": trials})
        going = _Sweep(run, record, executor, tracker.uri, stop or Event())
        return going.run(timeout, on_start)
    finally:
        executor.close()
        tracker.close(stop)


class _Sweep:
    """The loop between the search and the workers."""

    def __init__(
        self, run: Run, record: Record, executor: Executor, uri: str, stop: Event
    ) -> None:
        settings = record.settings
        self.run_of_sweep, self.record, self.executor = run, record, executor
        self.uri, self.stop = uri, stop
        self.config = load_config(settings["config"])
        self.space = load_space(settings["space"], self.config)
        self.metrics: list[str] = settings["metrics"]
        self.search = Search(
            self.space, settings["directions"], settings["sampler"],
            settings["pruner"], settings["seed"],
            self.config.epochs * self.config.restarts,
        )  # fmt: skip
        for trial in record.trials:
            self.search.restore(trial)
        self.pending = [Progress(t, is_repeated=True) for t in record.running()]
        self.running: dict[int, Progress] = {}
        self.is_exhausted = False
        self.error = ""

    def run(
        self, timeout: float | None, on_start: Callable[[str], None] | None
    ) -> SweepResult:
        """Leave no run RUNNING, whatever happens."""
        run = self.run_of_sweep
        try:
            if on_start is not None:
                on_start(run.run_id)
            end = math.inf if timeout is None else time.monotonic() + timeout
            self._loop(end)
            return self._finish()
        except BaseException as err:
            is_stop = isinstance(err, KeyboardInterrupt)
            reason = "interrupted" if is_stop else f"{type(err).__name__}: {err}"
            run.finish("KILLED" if is_stop else "FAILED", reason, resumable=True)
            raise
        finally:
            self.record.close()

    @property
    def _n_trials(self) -> int:
        return int(self.record.settings["trials"])

    def _is_stopping(self) -> bool:
        return self.stop.is_set() or bool(self.error)

    def _loop(self, end: float) -> None:
        is_told = False
        with show_progress("Trials", "trials") as progress:
            while True:
                if not self._is_stopping():
                    self._fill(end)
                elif not is_told:
                    self.executor.stop()
                    is_told = True
                if not self.running and not self._may_wait():
                    return
                for number, message in self.executor.messages(WAKE_EVERY_S):
                    self._take(number, message)
                done = len(self.record.trials) - len(self.record.running())
                progress(done, self._n_trials)

    def _may_wait(self) -> bool:
        """Whether a trial waits until the store answers again."""
        return bool(self.pending) and not self._is_stopping()

    def _fill(self, end: float) -> None:
        while len(self.running) < self.executor.n_slots:
            now = time.monotonic()
            ready = [p for p in self.pending if p.not_before <= now]
            if ready:
                self.pending.remove(ready[0])
                self._start(ready[0])
                continue
            number = len(self.record.trials)
            if number >= self._n_trials or now >= end or self.is_exhausted:
                return
            asked = self.search.ask(number)
            if asked is None:
                self.is_exhausted = True
                log.info("the space is exhausted after %d trials", number)
                return
            suggested, attrs = asked
            self.record.write("asked", trial=number, suggested=suggested, attrs=attrs)
            self._start(Progress(self.record.trials[number]))

    def _start(self, progress: Progress) -> None:
        trial = progress.trial
        progress.begun = time.monotonic()
        self.running[trial.number] = progress
        task = {
            "trial": trial.number,
            "config": self.record.settings["config"],
            "overrides": self.space.values(trial.suggested),
            "parent": self.run_of_sweep.run_id,
            "experiment": self.run_of_sweep.experiment_id,
            "uri": self.uri,
            "resume": trial.run_id,
            "is_repeated": progress.is_repeated,
            "prunes": self.record.settings["pruner"] != "none",
            "known": list(trial.epochs),
            "metric": self.metrics[0],
            "device": self.record.settings["device"],
        }
        self.executor.start(trial.number, task)

    def _take(self, number: int, message: Message) -> None:
        progress = self.running[number]
        trial, kind = progress.trial, message["kind"]
        if kind == "began":
            if message["run"] != trial.run_id:
                self.record.write("began", trial=number, run=message["run"])
        elif kind == "epoch":
            self._take_epoch(trial, message)
        elif kind == "died":
            del self.running[number]
            self._take_death(progress, message["reason"])
        else:
            del self.running[number]
            self._take_end(progress, message)

    def _take_epoch(self, trial: Trial, message: Message) -> None:
        epoch, value = int(message["epoch"]), float(message["value"])
        self.record.write("epoch", trial=trial.number, epoch=epoch, value=value)
        is_bad = self.search.should_prune(trial.number, epoch, value)
        shown = f"{self.metrics[0]} {value:.4g} after epoch {epoch}"
        reason = f"{self.record.settings['pruner']} pruner: {shown}"
        self.executor.answer(trial.number, reason if is_bad else "")

    def _take_death(self, progress: Progress, reason: str) -> None:
        progress.n_deaths += 1
        progress.is_repeated = True
        log.warning("trial %d: %s; it goes on", progress.trial.number, reason)
        if progress.n_deaths < MAX_DEATHS or self._is_stopping():
            self.pending.insert(0, progress)
            return
        self._end_runs(progress.trial, "FAILED", f"{reason}, {MAX_DEATHS} times")
        self.search.tell(progress.trial.number, None)
        self._end(progress, "failed", reason=f"{reason}, {MAX_DEATHS} times")

    def _end_runs(self, trial: Trial, outcome: Outcome, reason: str) -> None:
        """Leave no run of a trial RUNNING that no worker will end."""
        if not trial.run_id:
            return
        tracker = MlflowTracker(self.uri)
        try:
            found = open_run(trial.run_id, self.uri)
            for left in (*found.children(), found):
                again = tracker.reopen(left.run_id, left.experiment_id)
                again.finish(outcome, reason, resumable=outcome == "KILLED")
        finally:
            tracker.close()

    def _take_end(self, progress: Progress, message: Message) -> None:
        trial, outcome = progress.trial, message["outcome"]
        reason = str(message["reason"])
        if message["run"] and message["run"] != trial.run_id:
            self.record.write("began", trial=trial.number, run=message["run"])
        if outcome == "FINISHED":
            self._take_result(progress, message["metrics"])
        elif outcome == "PRUNED":
            self.search.tell_pruned(trial.number)
            self._end(progress, "pruned", reason=reason)
        elif outcome == "FAILED":
            self.search.tell(trial.number, None)
            self._end(progress, "failed", reason=reason)
        elif outcome == "AWAY" and progress.n_away < MAX_AWAY:
            log.warning("trial %d waits: %s", trial.number, reason)
            progress.n_away += 1
            progress.is_repeated = True
            progress.not_before = time.monotonic() + AWAY_S
            self.pending.append(progress)
        elif outcome == "AWAY":
            self.error = reason
        # One that was stopped stays in the record as running: it will be resumed.

    def _take_result(self, progress: Progress, metrics: dict[str, float]) -> None:
        trial = progress.trial
        missing = [name for name in self.metrics if name not in metrics]
        values = [float(metrics.get(name, math.nan)) for name in self.metrics]
        if missing:
            self.error = (
                f"metric {missing[0]} is not among those of a training; "
                f"{did_you_mean(missing[0], metrics)}"
            )
        if not all(map(math.isfinite, values)):
            self.search.tell(trial.number, None)
            reason = f"{' and '.join(missing or self.metrics)}: not a finite number"
            self._end(progress, "failed", metrics=metrics, reason=reason)
            return
        self.search.tell(trial.number, values)
        self._end(progress, "complete", values=values, metrics=metrics)
        points = {f"trial/{n}": v for n, v in zip(self.metrics, values, strict=True)}
        self.run_of_sweep.log_metrics(points, trial.number + 1)

    def _end(
        self,
        progress: Progress,
        state: str,
        *,
        values: Sequence[float] = (),
        metrics: Mapping[str, float] | None = None,
        reason: str = "",
    ) -> None:
        self.record.write(
            "ended", trial=progress.trial.number, state=state, values=list(values),
            metrics=dict(metrics or {}), reason=reason,
            seconds=time.monotonic() - progress.begun,
        )  # fmt: skip
        log.info(
            "trial %d: %s %s", progress.trial.number, state,
            ", ".join(f"{value:.5g}" for value in values) or reason,
        )  # fmt: skip

    def _finish(self) -> SweepResult:
        run, best = self.run_of_sweep, self.search.best()
        for progress in self.pending:
            if progress.n_deaths:
                self._end_runs(progress.trial, "KILLED", "its worker died")
        write_report(run, self.record, self.search, best)
        run.log_file(self.record.path)
        is_stopped = self.stop.is_set() and (
            self.record.running() or len(self.record.trials) < self._n_trials
        )
        if self.error:
            run.finish("FAILED", self.error, resumable=True)
            raise TrainingError(f"sweep {run.run_id}: {self.error}")
        if is_stopped:
            run.finish("KILLED", "stopped on request", resumable=True)
        else:
            # With more trials it can go on, too.
            run.finish("FINISHED", "exhausted" if self.is_exhausted else "")
        return SweepResult(
            run_id=run.run_id,
            experiment_id=run.experiment_id,
            tracking_uri=hide_passwords(self.uri),
            outcome="KILLED" if is_stopped else "FINISHED",
            is_exhausted=self.is_exhausted,
            metrics=tuple(self.metrics),
            trials=tuple(self.record.trials),
            best=tuple(best),
            space=self.space,
        )
