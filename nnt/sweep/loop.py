"""The loop between the search, the record and the workers of a sweep."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from threading import Event
from typing import Any

from nnt.config import load_config
from nnt.errors import TrainingError, did_you_mean
from nnt.progress import show_progress
from nnt.sweep.local import Executor
from nnt.sweep.record import Message, Record, Trial
from nnt.sweep.report import write_report
from nnt.sweep.result import SweepResult
from nnt.sweep.seeds import REPEATS, SEED, n_repeats, next_seed
from nnt.sweep.space import load_space
from nnt.sweep.study import Search
from nnt.tracking import MlflowTracker, Outcome, Run, hide_passwords, open_run

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
    cut: str = ""
    """Why it is cut; empty if it goes on."""
    n_deaths: int = 0
    n_away: int = 0
    not_before: float = 0.0


class SweepLoop:
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
            self.train_all(end)
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

    def train_all(self, end: float) -> None:
        """Train until there is nothing left, or no trial may begin any more.

        Parameters
        ----------
        end : float
            Monotonic time after which no further trial begins.
        """
        was_asked = False
        with show_progress("Trials", "trials") as progress:
            while True:
                if not self._is_stopping():
                    self._fill(end)
                elif not was_asked:
                    self.executor.stop()
                    was_asked = True
                if not self.running and not self._has_more(end):
                    return
                for number, message in self.executor.messages(WAKE_EVERY_S):
                    self._take(number, message)
                done = len(self.record.trials) - len(self.record.running())
                if done:
                    progress(done, self._n_trials)

    def _has_more(self, end: float) -> bool:
        """Whether a trial waits for the store to answer, or for a worker to come."""
        is_left = len(self.record.trials) < self._n_trials and not self.is_exhausted
        is_time = time.monotonic() < end
        return not self._is_stopping() and bool(self.pending or (is_left and is_time))

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
            asked = self._repeat(number) or self.search.ask(number)
            if asked is None:
                self.is_exhausted = True
                log.info("the space is exhausted after %d trials", number)
                return
            suggested, attrs = asked
            self.record.write("asked", trial=number, suggested=suggested, attrs=attrs)
            self._start(Progress(self.record.trials[number]))

    def _repeat(self, number: int) -> tuple[dict[str, Any], dict[str, Any]] | None:
        """Choose the best configuration once more, with another seed, at the end."""
        sampler = self.record.settings["sampler"]
        n_last = n_repeats(self.space, sampler, self._n_trials)
        best = self.search.best()
        if number < self._n_trials - n_last or not best:
            return None
        trial = self.record.trials[best[0]]
        seed = next_seed(trial, self.record.trials, self.space)
        if seed is None:
            return None
        suggested = {**trial.suggested, SEED: seed}
        attrs = {REPEATS: trial.number}
        self.search.add(suggested, attrs)
        return suggested, attrs

    def _start(self, progress: Progress) -> None:
        trial = progress.trial
        progress.begun = time.monotonic()
        # The process that took its last epoch may have died before it answered.
        progress.cut = self._reason_to_cut(trial)
        self.running[trial.number] = progress
        # The spread over seeds is that of whole trainings.
        prunes = self.record.settings["pruner"] != "none" and REPEATS not in trial.attrs
        task = self._task(trial) | {
            "resume": trial.run_id,
            "is_repeated": progress.is_repeated,
            "prunes": prunes,
            "known": list(trial.epochs),
            "cut": progress.cut,
            "metric": self.metrics[0],
            "device": self.record.settings["device"],
        }
        self.executor.start(trial.number, task)

    def _task(self, trial: Trial) -> dict[str, Any]:
        return {
            "trial": trial.number,
            "config": self.record.settings["config"],
            "overrides": self.space.values(trial.suggested),
            "parent": self.run_of_sweep.run_id,
            "uri": self.uri,
        }

    def _take(self, number: int, message: Message) -> None:
        progress = self.running[number]
        trial, kind = progress.trial, message["kind"]
        if kind == "began":
            if message["run"] != trial.run_id:
                self.record.write("began", trial=number, run=message["run"])
        elif kind == "epoch":
            self._take_epoch(progress, message)
        elif kind == "died":
            del self.running[number]
            self._take_death(progress, message["reason"])
        else:
            del self.running[number]
            self._take_end(progress, message)

    def _take_epoch(self, progress: Progress, message: Message) -> None:
        trial = progress.trial
        epoch, value = int(message["epoch"]), float(message["value"])
        self.record.write("epoch", trial=trial.number, epoch=epoch, value=value)
        self.search.report(trial.number, epoch, value)
        progress.cut = self._reason_to_cut(trial)
        self.executor.answer(trial.number, progress.cut)

    def _reason_to_cut(self, trial: Trial) -> str:
        """Why a trial is cut after its last epoch; empty if it goes on."""
        if not trial.epochs or not self.search.should_prune(trial.number):
            return ""
        epoch = max(trial.epochs)
        shown = f"{self.metrics[0]} {trial.epochs[epoch]:.4g} after epoch {epoch}"
        return f"{self.record.settings['pruner']} pruner: {shown}"

    def _take_death(self, progress: Progress, reason: str) -> None:
        progress.n_deaths += 1
        progress.is_repeated = True
        log.warning("trial %d: %s; it continues", progress.trial.number, reason)
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
            self._end(progress, "pruned", reason=progress.cut or reason)
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
            "trial %d is %s: %s", progress.trial.number, state,
            ", ".join(f"{value:.5g}" for value in values) or reason,
        )  # fmt: skip

    def _begin_plots_of(self, trial: Trial) -> bool:
        """Have a worker draw the plots of the best trial: it has read the rows."""
        if trial.has_plots or self._is_stopping() or not self.executor.n_slots:
            return False
        self.executor.start(trial.number, self._task(trial) | {"plots": trial.run_id})
        return True

    def _wait_for_plots_of(self, trial: Trial) -> None:
        ended: Message | None = None
        while ended is None:
            for _, message in self.executor.messages(WAKE_EVERY_S):
                ended = message
            if self.stop.is_set():
                self.executor.stop()
        if ended.get("outcome") == "FINISHED":
            self.record.write("drawn", trial=trial.number)
        else:
            log.warning(
                "trial %d, the best one, has no plots: %s; draw them with: nnt "
                "evaluate %s --plots DIRECTORY",
                trial.number, ended["reason"], trial.run_id,
            )  # fmt: skip

    def _finish(self) -> SweepResult:
        run, best = self.run_of_sweep, self.search.best()
        for progress in self.pending:
            if progress.n_deaths:
                self._end_runs(progress.trial, "KILLED", "its worker died")
        drawn = self.record.trials[best[0]] if best else None
        if drawn is not None and (
            self.record.running() or not self._begin_plots_of(drawn)
        ):
            drawn = None
        write_report(run, self.record, self.search, best)
        if drawn is not None:
            self._wait_for_plots_of(drawn)
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
