"""The trials of a sweep, and their durable record, from which a killed one goes on."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nnt.errors import TrackingError
from nnt.sweep.space import Space

Message = dict[str, Any]
"""What a worker says of its trial: plain JSON."""

RECORD = "trials.jsonl"
"""In the local directory of the run of a sweep, and among its artifacts."""


@dataclass
class Trial:
    """One configuration that was tried, and what came of it."""

    number: int
    """From 0."""
    suggested: dict[str, Any]
    """Value of each key, as the search knows it."""
    attrs: dict[str, Any] = field(default_factory=dict)
    """What the sampler keeps with it."""
    run_id: str = ""
    """Of its training; empty before there is one."""
    epochs: dict[int, float] = field(default_factory=dict)
    """Metric after each epoch that was reported."""
    state: str = "running"
    """``"running"``, ``"complete"``, ``"pruned"`` or ``"failed"``."""
    values: list[float] = field(default_factory=list)
    """Of each metric of the search; empty unless it is complete."""
    metrics: dict[str, float] = field(default_factory=dict)
    """All metrics of its training."""
    reason: str = ""
    """Why it was pruned, or has failed."""
    seconds: float = 0.0
    """How long it took, the last part alone if it was interrupted."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SweepResult:
    """A sweep: its run, its trials and the best of them."""

    run_id: str
    experiment_id: str
    tracking_uri: str
    outcome: str
    """``"FINISHED"`` or ``"KILLED"``."""
    is_exhausted: bool
    """Whether there was nothing left to try."""
    metrics: tuple[str, ...]
    """What was searched for."""
    trials: tuple[Trial, ...]
    """By number."""
    best: tuple[int, ...]
    """Number of the best trial; of several metrics, of all on the front."""
    space: Space
    """What was varied."""

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {
            "run_id": self.run_id,
            "experiment_id": self.experiment_id,
            "tracking_uri": self.tracking_uri,
            "outcome": self.outcome,
            "exhausted": self.is_exhausted,
            "metrics": list(self.metrics),
            "best": list(self.best),
            "trials": [
                {
                    "number": trial.number,
                    "state": trial.state,
                    "run_id": trial.run_id,
                    "params": self.space.values(trial.suggested),
                    "values": trial.values,
                    "reason": trial.reason,
                    "seconds": trial.seconds,
                }
                for trial in self.trials
            ],
        }


class Record:
    """Trials of a sweep; every change is written before anything follows from it.

    What the file holds is read; a last line that is not whole is dropped. Any other
    that is none of a record raises `TrackingError`, as does a file without settings.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.settings: dict[str, Any] = {}
        self.trials: list[Trial] = []
        size = 0
        if path.exists():
            size = self._read()
            if not self.settings:
                raise TrackingError(
                    f"{path}: the sweep was killed before its settings were written, "
                    "and has no trials; start a new sweep"
                )
        self._file = path.open("ab")
        self._file.truncate(size)

    def _read(self) -> int:
        """Apply every whole line; return how many bytes they are."""
        content = self.path.read_bytes()
        size = content.rfind(b"\n") + 1
        for number, line in enumerate(content[:size].splitlines(), 1):
            try:
                self._apply(json.loads(line))
            except (ValueError, KeyError, IndexError, TypeError) as err:
                raise TrackingError(
                    f"{self.path}, line {number}: expected an event of a sweep, got "
                    f"{line[:80]!r}; restore the file, or start a new sweep"
                ) from err
        return size

    def write(self, event: str, **values: Any) -> None:
        """Append an event, and let it count."""
        line = json.dumps({"event": event, **values}) + "\n"
        self._file.write(line.encode())
        self._file.flush()
        if event != "epoch":
            os.fsync(self._file.fileno())
        self._apply(json.loads(line))

    def _apply(self, event: Mapping[str, Any]) -> None:
        kind = event["event"]
        if kind == "sweep":
            self.settings |= event["settings"]
            return
        if kind == "asked":
            if event["trial"] != len(self.trials):
                raise ValueError(f"trial {event['trial']} is out of order")
            self.trials.append(
                Trial(event["trial"], dict(event["suggested"]), dict(event["attrs"]))
            )
            return
        trial = self.trials[event["trial"]]
        if kind == "began":
            trial.run_id = str(event["run"])
        elif kind == "epoch":
            trial.epochs[int(event["epoch"])] = float(event["value"])
        elif kind == "ended":
            trial.state, trial.reason = str(event["state"]), str(event["reason"])
            trial.values = [float(value) for value in event["values"]]
            trial.metrics = dict(event["metrics"])
            trial.seconds = float(event["seconds"])
        else:
            raise ValueError(f"unknown event {kind!r}")

    def running(self) -> list[Trial]:
        """Trials that have not ended, by number."""
        return [trial for trial in self.trials if trial.state == "running"]

    def close(self) -> None:
        """Close the file."""
        self._file.close()
