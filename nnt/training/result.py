"""A training under way, who has started it, and what it gives back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from threading import Event
from typing import Any

from nnt.engine import FitResult
from nnt.tracking import Outcome, Run
from nnt.tracks import Tracks
from nnt.training.data import TrainingInputs

ENDS = {"epochs": "epoch limit reached"}
"""Reasons to stop that need more words where people read them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Caller:
    """What starts a training, for whoever wants to be known to it."""

    command: str = ""
    """The same from a shell; kept with the run, so that it can be named to someone who
    finds the run interrupted."""
    on_start: Callable[[str], None] | None = None
    """Called with the ID of the parent run as soon as there is one."""
    parent: str = ""
    """ID of the run below which that of the training is nested, as one of many: it then
    draws no plots."""
    name: str = ""
    """Of the run of the training; default: that of the configuration."""
    tags: Mapping[str, str] = field(default_factory=dict)
    """Further tags of the run of the training."""
    report: Callable[[int, Mapping[str, float]], str] | None = None
    """``report(epoch, metrics)``, metrics as means over the experts; an answer that is
    not empty is the reason to cut the training there. Experts then take turns: one
    after the other, all but the last would be trained in vain."""
    splits: Mapping[str, Tracks] | None = None
    """Rows of ``train``, ``val`` and ``test`` where they have been read already."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class TrainingRuns:
    """A training under way: what it reads, and the runs that it logs to."""

    inputs: TrainingInputs
    parent: Run
    children: dict[int, Run]
    """The run of each expert."""
    stop: Event
    """Set to end after the batches under way."""
    caller: Caller = Caller()

    @property
    def log(self) -> Path:
        """File for what the whole training logs."""
        return self.parent.directory / "app.log"

    @property
    def by_scope(self) -> dict[str, Run]:
        """Where figures of all rows go, and those of each expert."""
        return {"all": self.parent} | {
            f"expert_{k}": child for k, child in self.children.items()
        }

    def finish(self, fits: Mapping[int, FitResult]) -> Outcome:
        """End all runs for good; the training fails where an expert has failed."""
        for expert, child in self.children.items():
            fit = fits[expert]
            if fit.error:
                child.finish("FAILED", fit.error)
            else:
                child.finish("FINISHED", fit.stop_reason)
        errors = "; ".join(fit.error for fit in fits.values() if fit.error)
        outcome: Outcome = "FAILED" if errors else "FINISHED"
        self.parent.log_file(self.log, "logs")
        self.parent.finish(outcome, errors)
        return outcome

    def abandon(self, outcome: Outcome, reason: str) -> None:
        """End all runs; unless the training was cut, they can be resumed."""
        if self.log.is_file():
            self.parent.log_file(self.log, "logs")
        for run in (*self.children.values(), self.parent):
            run.finish(outcome, reason, resumable=outcome != "PRUNED")


@dataclass(frozen=True, kw_only=True, slots=True)
class ExpertResult:
    """One expert: how its training ended, and how good it is."""

    run_id: str
    best_epoch: int
    epochs: int
    stop_reason: str
    """``"epochs"``, ``"early stopping"``, ``"stopped"`` or ``"failed"``."""
    error: str = ""
    """Why it failed; empty if it did not."""
    val: dict[str, float] = field(default_factory=dict)
    test: dict[str, float] = field(default_factory=dict)

    @property
    def ending(self) -> str:
        """How it ended, for people."""
        return self.error or ENDS.get(self.stop_reason, self.stop_reason)

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        values = asdict(self)
        error = values.pop("error")
        return values | ({"error": error} if error else {})


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingResult:
    """A training: its parent run, its experts, and figures over all rows."""

    run_id: str
    experiment_id: str
    tracking_uri: str
    outcome: str
    """``"FINISHED"``, ``"FAILED"``, ``"KILLED"`` or ``"PRUNED"``."""
    experts: dict[int, ExpertResult]
    val: dict[str, float]
    test: dict[str, float]

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values, the experts under their numbers as text."""
        experts = {str(k): v.to_dict() for k, v in self.experts.items()}
        return asdict(self) | {"experts": experts}
