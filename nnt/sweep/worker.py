"""One trial after the other, as a worker trains them in a process of its own.

Workers know nothing of the search. What they get and send is plain JSON.
"""

from __future__ import annotations

import json
import logging
import queue
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from threading import Event, Thread
from typing import Any

from nnt.config import Config, load_config
from nnt.errors import NNTError, TrackingError, TrainingError
from nnt.sweep.record import Message
from nnt.sweep.runs import end_training
from nnt.tracking import MlflowTracker, StoredRun, open_run, runs_directory
from nnt.tracks import Tracks
from nnt.training import Caller, TrainingResult, train
from nnt.training.data import load_splits
from nnt.training.final_report import StoppedError
from nnt.training.late_plots import draw_plots

log = logging.getLogger(__name__)

Task = Mapping[str, Any]
"""What `nnt.sweep.loop` gives out."""

TRIAL_TAG = "nnt.trial"
RETRIES, WAIT_S = 15, 2.0
"""Until the process of a worker that is about to end has let go of a run."""


def serve(pipe: Connection) -> None:
    """Train what comes, one after the other, until the other end is closed."""
    tasks: queue.Queue[Task | None] = queue.Queue()
    answers: queue.Queue[str] = queue.Queue()
    stop = Event()

    def listen() -> None:
        try:
            while True:
                message = json.loads(pipe.recv_bytes())
                if "task" in message:
                    tasks.put(message["task"])
                elif "answer" in message:
                    answers.put(message["answer"])
                else:
                    stop.set()
                    answers.put("")
        except (EOFError, OSError):
            # The sweep has gone: end in order, so that it can be resumed.
            stop.set()
            answers.put("")
            tasks.put(None)

    def send(message: Message) -> None:
        try:
            pipe.send_bytes(json.dumps(message).encode())
        except OSError:
            stop.set()

    Thread(target=listen, name="listener", daemon=True).start()
    worker = Worker(send, answers.get, stop)
    while (task := tasks.get()) is not None:
        while not answers.empty():
            answers.get()
        worker.run(task)


@dataclass
class Worker:
    """Trains trials, and says what becomes of them."""

    send: Callable[[Message], None]
    """Takes messages: ``began`` (run), ``epoch`` (epoch, value), and in the end
    ``ended`` (outcome, run, metrics, reason)."""
    wait_for_answer: Callable[[], str]
    """Waits for the answer to an epoch: why the trial is cut, or nothing."""
    stop: Event
    """Set to end in order, to be resumed."""
    _key: str = field(default="", init=False)
    _splits: dict[str, Tracks] = field(default_factory=dict, init=False)

    def splits_of(self, config: Config) -> dict[str, Tracks]:
        """Rows of each split; tables that have just been used are not read again."""
        parts = [config.to_dict()["data"], config.seed_of_split, config.chain]
        key = json.dumps(parts, default=str)
        if key != self._key:
            self._splits = load_splits(config)
            self._key = key
        return self._splits

    def run(self, task: Task) -> None:
        """Train one trial, or draw its plots; the last message is of its end."""
        try:
            message = self._draw(task) if "plots" in task else self._train(task)
        except NNTError as err:
            outcome = "AWAY" if isinstance(err, TrackingError) else "FAILED"
            message = {"outcome": outcome, "reason": str(err)}
        except KeyboardInterrupt:
            message = {"outcome": "KILLED", "reason": "interrupted"}
        except Exception as err:
            log.exception("trial %d", task["trial"])
            message = {"outcome": "FAILED", "reason": f"{type(err).__name__}: {err}"}
        self.send({"kind": "ended", "run": "", "metrics": {}, "reason": "", **message})

    def _draw(self, task: Task) -> Message:
        """Draw the plots of a trial that is complete."""
        config = load_config(task["config"], task["overrides"])
        rows = self.splits_of(config)
        try:
            draw_plots(config, task["plots"], task["uri"], self.stop, rows)
        except StoppedError:
            return {"outcome": "KILLED", "reason": "stopped on request"}
        return {"outcome": "FINISHED"}

    def _train(self, task: Task) -> Message:
        earlier = _find(task)
        if earlier is not None:
            outcome = earlier.tags.get("nnt.outcome")
            if outcome in ("FINISHED", "PRUNED"):  # and nobody has heard of it
                return {
                    "outcome": outcome, "run": earlier.run_id,
                    "metrics": dict(earlier.metrics),
                    "reason": earlier.tags.get("nnt.reason", ""),
                }  # fmt: skip
            # Elsewhere, its process may still be about to end, and nobody here can
            # see it.
            if earlier.status != "RUNNING" or earlier.directory.is_dir():
                result = self._go_on(task, earlier)
                if result is not None:
                    return _message(result)
            end_training(earlier, "KILLED", "its worker died; the trial started again")
        return _message(self._attempt(task, None))

    def _go_on(self, task: Task, run: StoredRun) -> TrainingResult | None:
        """Resume a training; None if it cannot be."""
        for _ in range(RETRIES):
            try:
                return self._attempt(task, run.run_id)
            except TrainingError as err:
                log.warning("%s", err)
                return None
            except TrackingError as err:
                log.info("%s", err)
                time.sleep(WAIT_S)
        return None

    def _attempt(self, task: Task, resume: str | None) -> TrainingResult:
        config = load_config(task["config"], task["overrides"])
        known = set(task["known"])

        def report(epoch: int, metrics: Mapping[str, float]) -> str:
            if task["cut"]:
                return str(task["cut"])
            if epoch in known or task["metric"] not in metrics:
                return ""
            value = metrics[task["metric"]]
            self.send({"kind": "epoch", "epoch": epoch, "value": value})
            return self.wait_for_answer()

        caller = Caller(
            on_start=lambda run: self.send({"kind": "began", "run": run}),
            parent=task["parent"],
            name=f"trial_{task['trial']:03d}",
            tags={TRIAL_TAG: str(task["trial"])},
            report=report if task["prunes"] or task["cut"] else None,
            splits=self.splits_of(config),
        )
        return train(
            config,
            jobs=1,
            tracker=MlflowTracker(task["uri"]),
            stop=self.stop,
            resume=resume,
            caller=caller,
        )


def _find(task: Task) -> StoredRun | None:
    """Find the run that an earlier worker has begun for the trial."""
    if task["resume"]:
        return open_run(task["resume"], task["uri"])
    if not task["is_repeated"]:
        return None
    runs = open_run(task["parent"], task["uri"]).children()
    named = (run for run in runs if run.tags.get(TRIAL_TAG) == str(task["trial"]))
    return next(named, None)


def _message(result: TrainingResult) -> Message:
    metrics = {f"val/{k}": v for k, v in result.val.items()}
    metrics |= {f"test/{k}": v for k, v in result.test.items()}
    if result.outcome == "FINISHED":
        metrics |= _of_summary(runs_directory(Path.cwd()) / result.run_id)
    return {
        "outcome": result.outcome, "run": result.run_id, "metrics": metrics,
        "reason": "; ".join(e.error for e in result.experts.values() if e.error),
    }  # fmt: skip


def _of_summary(directory: Path) -> dict[str, float]:
    """Read what hardware costs, and what its integers do, from ``summary.json``."""
    try:
        found = json.loads((directory / "summary.json").read_bytes())["fixed_point"]
    except (OSError, ValueError, KeyError):
        return {}
    metrics: dict[str, float] = {}
    for split, values in found.items():
        if isinstance(values, Mapping) and isinstance(values.get("all"), Mapping):
            prefix = "" if split == "hardware" else f"{split}_fixed_point/"
            metrics |= {f"{prefix}{k}": v for k, v in values["all"].items()}
    return metrics
