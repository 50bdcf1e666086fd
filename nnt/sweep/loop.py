"""The loop between the search, the record and the workers of a sweep."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from threading import Event
from typing import Any

from nnt.errors import TrainingError, did_you_mean
from nnt.progress import show_progress
from nnt.sweep.local import Executor
from nnt.sweep.record import Message, Record, SweepResult, Trial
from nnt.sweep.runs import end_training
from nnt.sweep.settings import Settings
from nnt.sweep.study import REPEATS, Search
from nnt.tracking import Run, hide_passwords, open_run

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
        self.run_of_sweep, self.record, self.executor = run, record, executor
        self.uri, self.stop = uri, stop
        self.settings = Settings.read(record.settings)
        self.search = Search(self.settings)
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
            self.train_all(math.inf if timeout is None else time.monotonic() + timeout)
            return self._finish()
        except BaseException as err:
            is_stop = isinstance(err, KeyboardInterrupt)
            reason = "interrupted" if is_stop else f"{type(err).__name__}: {err}"
            run.finish("KILLED" if is_stop else "FAILED", reason, resumable=True)
            raise
        finally:
            self.record.close()

    def _is_stopping(self) -> bool:
        return self.stop.is_set() or bool(self.error)

    def train_all(self, end: float) -> None:
        """Train until there is nothing left; after `end` no further trial begins."""
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
                    progress(done, self.settings.trials)

    def _may_ask(self, end: float) -> bool:
        is_left = len(self.record.trials) < self.settings.trials
        return is_left and not self.is_exhausted and time.monotonic() < end

    def _has_more(self, end: float) -> bool:
        """Whether a trial waits for the store to answer, or for a worker to come."""
        return not self._is_stopping() and bool(self.pending or self._may_ask(end))

    def _fill(self, end: float) -> None:
        while len(self.running) < self.executor.n_slots:
            now = time.monotonic()
            ready = [p for p in self.pending if p.not_before <= now]
            if ready:
                self.pending.remove(ready[0])
                self._start(ready[0])
                continue
            if not self._may_ask(end):
                return
            number = len(self.record.trials)
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
        # The process that took its last epoch may have died before it answered.
        progress.cut = self._reason_to_cut(trial)
        self.running[trial.number] = progress
        task = self._task(trial) | {
            "resume": trial.run_id,
            "is_repeated": progress.is_repeated,
            # The spread over seeds is that of whole trainings.
            "prunes": self.settings.pruner != "none" and REPEATS not in trial.attrs,
            "known": list(trial.epochs),
            "cut": progress.cut,
            "metric": self.settings.metrics[0],
        }
        self.executor.start(trial.number, task)

    def _task(self, trial: Trial) -> dict[str, Any]:
        return {
            "trial": trial.number,
            "config": self.record.settings["config"],
            "overrides": self.settings.space.values(trial.suggested),
            "parent": self.run_of_sweep.run_id,
            "uri": self.uri,
        }

    def _take(self, number: int, message: Message) -> None:
        progress, kind = self.running[number], message["kind"]
        if kind == "epoch":
            self._take_epoch(progress, message)
            return
        run = message.get("run")
        if run and run != progress.trial.run_id:
            self.record.write("began", trial=number, run=run)
        if kind != "began":
            del self.running[number]
        if kind == "died":
            self._take_death(progress, message["reason"])
        elif kind == "ended":
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
        shown = f"{trial.epochs[epoch]:.4g} after epoch {epoch}"
        return f"{self.settings.pruner} pruner: {self.settings.metrics[0]} {shown}"

    def _take_death(self, progress: Progress, reason: str) -> None:
        trial = progress.trial
        progress.n_deaths += 1
        progress.is_repeated = True
        log.warning("trial %d: %s; it continues", trial.number, reason)
        if progress.n_deaths < MAX_DEATHS or self._is_stopping():
            self.pending.insert(0, progress)
            return
        reason = f"{reason}, {MAX_DEATHS} times"
        if trial.run_id:
            end_training(open_run(trial.run_id, self.uri), "FAILED", reason)
        self._end(progress, "failed", reason=reason)

    def _take_end(self, progress: Progress, message: Message) -> None:
        outcome, reason = message["outcome"], str(message["reason"])
        if outcome == "FINISHED":
            self._take_result(progress, message["metrics"])
        elif outcome == "PRUNED":
            self._end(progress, "pruned", reason=progress.cut or reason)
        elif outcome == "FAILED":
            self._end(progress, "failed", reason=reason)
        elif outcome == "AWAY" and progress.n_away < MAX_AWAY:
            log.warning("trial %d waits: %s", progress.trial.number, reason)
            progress.n_away += 1
            progress.is_repeated = True
            progress.not_before = time.monotonic() + AWAY_S
            self.pending.append(progress)
        elif outcome == "AWAY":
            self.error = reason
        # One that was stopped stays in the record as running: it will be resumed.

    def _take_result(self, progress: Progress, metrics: Mapping[str, float]) -> None:
        names = self.settings.metrics
        missing = [name for name in names if name not in metrics]
        values = [float(metrics.get(name, math.nan)) for name in names]
        if missing:
            self.error = (
                f"metric {missing[0]} is not among those of a training; "
                f"{did_you_mean(missing[0], metrics)}"
            )
        if not all(map(math.isfinite, values)):
            reason = f"{' and '.join(missing or names)}: not a finite number"
            self._end(progress, "failed", metrics=metrics, reason=reason)
            return
        self._end(progress, "complete", values=values, metrics=metrics)
        points = {f"trial/{n}": v for n, v in zip(names, values, strict=True)}
        self.run_of_sweep.log_metrics(points, progress.trial.number + 1)

    def _end(
        self,
        progress: Progress,
        state: str,
        *,
        values: Sequence[float] = (),
        metrics: Mapping[str, float] | None = None,
        reason: str = "",
    ) -> None:
        number = progress.trial.number
        self.search.tell(number, state, values)
        self.record.write(
            "ended", trial=number, state=state, values=list(values),
            metrics=dict(metrics or {}), reason=reason,
            seconds=time.monotonic() - progress.begun,
        )  # fmt: skip
        shown = ", ".join(f"{value:.5g}" for value in values) or reason
        log.info("trial %d is %s: %s", number, state, shown)

    def _finish(self) -> SweepResult:
        for progress in self.pending:
            if progress.n_deaths and (run_id := progress.trial.run_id):
                left = open_run(run_id, self.uri)
                end_training(left, "KILLED", "its worker died", resumable=True)
        run, best = self.run_of_sweep, self.search.best()
        self._report(best)
        run.log_file(self.record.path)
        is_left = bool(self.record.running())
        is_left = is_left or len(self.record.trials) < self.settings.trials
        is_stopped = self.stop.is_set() and is_left
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
            metrics=tuple(self.settings.metrics),
            trials=tuple(self.record.trials),
            best=tuple(best),
            space=self.settings.space,
        )

    def _report(self, best: Sequence[int]) -> None:
        """Log the report, while a worker, which has read the rows, draws plots."""
        # Here, as elsewhere: pages and pictures would delay the first trial.
        from nnt.sweep.report import write_report

        is_over = not self.record.running() and not self._is_stopping()
        draws = bool(best) and is_over and self.executor.n_slots > 0
        if draws:
            drawn = self.record.trials[best[0]]
            task = self._task(drawn) | {"plots": drawn.run_id}
            self.executor.start(drawn.number, task)
        write_report(self.run_of_sweep, self.settings, self.record.trials, self.search)
        ended: Message | None = None
        while draws and ended is None:
            for _, message in self.executor.messages(WAKE_EVERY_S):
                ended = message
            if self.stop.is_set():
                self.executor.stop()
        if ended is not None and ended.get("outcome") != "FINISHED":
            log.warning(
                "trial %d, the best one, has no plots: %s; draw them with: nnt "
                "evaluate %s --plots DIRECTORY",
                drawn.number, ended["reason"], drawn.run_id,
            )  # fmt: skip
