"""One trial, as a worker trains it: a configuration in, epochs and results out.

Workers know nothing of the search. What they get and send is plain JSON.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from threading import Event
from typing import Any

from nnt.config import Config, load_config
from nnt.errors import NNTError, TrackingError, TrainingError
from nnt.sweep.record import Message
from nnt.tracking import MlflowTracker, StoredRun, open_run, runs_directory
from nnt.tracks import Tracks
from nnt.training import Caller, Part, TrainingResult, train
from nnt.training.data import load_splits
from nnt.training.final_report import StoppedError
from nnt.training.late_plots import draw_plots

log = logging.getLogger(__name__)

TRIAL_TAG = "nnt.trial"
RETRIES, WAIT_S = 15, 2.0
"""Until the process of a worker that is about to end has let go of a run."""


class Data:
    """Tables that a worker has read, so that each is read once."""

    def __init__(self) -> None:
        self._key = ""
        self._splits: dict[str, Tracks] = {}

    def of(self, config: Config) -> dict[str, Tracks]:
        """Give the rows of each split of a configuration."""
        key = json.dumps(
            [config.to_dict()["data"], config.seed_of_split, config.chain],
            default=str,
        )
        if key != self._key:
            self._splits = load_splits(config)
            self._key = key
        return self._splits


def run_trial(
    task: Mapping[str, Any],
    send: Callable[[Message], None],
    wait_for_answer: Callable[[], str],
    stop: Event,
    data: Data,
) -> None:
    """Train one trial; the last message that it sends is of its end.

    Parameters
    ----------
    task : mapping
        As `nnt.sweep.run` makes it.
    send : callable
        Takes messages: ``began`` (run), ``epoch`` (epoch, value), ``ended`` (outcome,
        run, metrics, reason).
    wait_for_answer : callable
        Waits for the answer to an epoch: why the trial is cut, or nothing.
    stop : threading.Event
        Set to end in order, to be resumed.
    data : Data
        Of this worker.
    """
    try:
        if "plots" in task:
            message = _draw(task, stop, data)
        else:
            message = _train(task, send, wait_for_answer, stop, data)
    except NNTError as err:
        outcome = "AWAY" if isinstance(err, TrackingError) else "FAILED"
        message = {"outcome": outcome, "reason": str(err)}
    except KeyboardInterrupt:
        message = {"outcome": "KILLED", "reason": "interrupted"}
    except Exception as err:
        log.exception("trial %d", task["trial"])
        message = {"outcome": "FAILED", "reason": f"{type(err).__name__}: {err}"}
    send({"kind": "ended", "run": "", "metrics": {}, **message})


def _draw(task: Mapping[str, Any], stop: Event, data: Data) -> Message:
    """Draw the plots of a trial that is complete."""
    config = load_config(task["config"], task["overrides"])
    try:
        draw_plots(config, task["plots"], task["uri"], stop, data.of(config))
    except StoppedError:
        return {"outcome": "KILLED", "reason": "stopped on request"}
    return {"outcome": "FINISHED", "reason": ""}


def _train(
    task: Mapping[str, Any],
    send: Callable[[Message], None],
    wait_for_answer: Callable[[], str],
    stop: Event,
    data: Data,
) -> Message:
    config = load_config(task["config"], task["overrides"])
    known = set(task["known"])

    def report(epoch: int, metrics: Mapping[str, float]) -> str:
        if task["cut"]:
            return str(task["cut"])
        if epoch in known or task["metric"] not in metrics:
            return ""
        send({"kind": "epoch", "epoch": epoch, "value": metrics[task["metric"]]})
        return wait_for_answer()

    part = Part(
        parent=task["parent"],
        name=f"trial_{task['trial']:03d}",
        tags={TRIAL_TAG: str(task["trial"])},
        report=report if task["prunes"] or task["cut"] else None,
        splits=data.of(config),
    )
    began: Message = {"kind": "began"}
    caller = Caller(on_start=lambda run: send(began | {"run": run}), part=part)

    def attempt(resume: str | None) -> TrainingResult:
        return train(
            config,
            jobs=1,
            device=task["device"],
            tracker=MlflowTracker(task["uri"]),
            stop=stop,
            resume=resume,
            caller=caller,
        )

    earlier = _find(task)
    if earlier is not None:
        if (ended := _ended(earlier)) is not None:
            return ended
        # Elsewhere, its process may still be about to end, and nobody here can see it.
        is_here = earlier.status != "RUNNING" or _directory_is_here(earlier)
        result = _go_on(earlier, attempt) if is_here else None
        if result is not None:
            return _message(result, task["uri"])
        _abandon(earlier, task["uri"])
    return _message(attempt(None), task["uri"])


def _find(task: Mapping[str, Any]) -> StoredRun | None:
    """Find the run that an earlier worker has begun for the trial."""
    if task["resume"]:
        return open_run(task["resume"], task["uri"])
    if not task["is_repeated"]:
        return None
    named = [
        run
        for run in open_run(task["parent"], task["uri"]).children()
        if run.tags.get(TRIAL_TAG) == str(task["trial"])
    ]
    return named[0] if named else None


def _directory_is_here(run: StoredRun) -> bool:
    return (Path(run.tags.get("nnt.directory", "")) / run.run_id).is_dir()


def _ended(run: StoredRun) -> Message | None:
    """Read the end of a training that nobody has heard of."""
    outcome = run.tags.get("nnt.outcome")
    if outcome not in ("FINISHED", "PRUNED"):
        return None
    reason = run.tags.get("nnt.reason", "")
    return {
        "outcome": outcome, "run": run.run_id, "metrics": dict(run.metrics),
        "reason": reason,
    }  # fmt: skip


def _go_on(
    run: StoredRun, attempt: Callable[[str | None], TrainingResult]
) -> TrainingResult | None:
    """Resume a training; None if it cannot be."""
    for _ in range(RETRIES):
        try:
            return attempt(run.run_id)
        except TrainingError as err:
            log.warning("%s", err)
            return None
        except TrackingError as err:
            log.info("%s", err)
            time.sleep(WAIT_S)
    return None


def _abandon(run: StoredRun, uri: str) -> None:
    """Let no run stay RUNNING whose training is started again."""
    tracker = MlflowTracker(uri)
    try:
        for left in (*run.children(), run):
            if left.status == "RUNNING":
                again = tracker.reopen(left.run_id, left.experiment_id)
                again.finish("KILLED", "its worker died; the trial was started again")
    finally:
        tracker.close()


def _message(result: TrainingResult, uri: str) -> Message:
    errors = [e.error for e in result.experts.values() if e.error]
    metrics = {f"val/{k}": v for k, v in result.val.items()}
    metrics |= {f"test/{k}": v for k, v in result.test.items()}
    reason = "; ".join(errors)
    if result.outcome == "FINISHED":
        metrics |= _of_summary(runs_directory(Path.cwd()) / result.run_id)
    return {
        "outcome": result.outcome, "run": result.run_id, "metrics": metrics,
        "reason": reason,
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
