"""A training under way, what it is part of, and what it gives back to its caller."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from threading import Event
from typing import Any

from nnt.tracking import Run
from nnt.tracks import Tracks
from nnt.training.data import TrainingInputs

__all__ = [
    "ENDS",
    "ExpertFailure",
    "ExpertResult",
    "Part",
    "Report",
    "TrainingResult",
    "TrainingRuns",
]

Report = Callable[[int, Mapping[str, float]], str]
"""``report(epoch, metrics)``, metrics as means over the experts.

An answer that is not empty is the reason to cut the training there.
"""

ENDS = {"epochs": "epoch limit reached"}
"""Reasons to stop that need more words where people read them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """A training that is one of many: nested below another run, without plots.

    Attributes
    ----------
    parent : str
        ID of the run below which that of the training is nested.
    name : str
        Of the run of the training.
    tags : mapping of str to str
        Further tags of the run of the training.
    report : callable, optional
        Called after every epoch; decides whether the training is cut. Experts then
        take turns: one after the other, all but the last would be trained in vain.
    splits : mapping of str to Tracks, optional
        Rows of ``train``, ``val`` and ``test`` where they have been read already.
    """

    parent: str
    name: str
    tags: Mapping[str, str] = field(default_factory=dict)
    report: Report | None = None
    splits: Mapping[str, Tracks] | None = None


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class TrainingRuns:
    """A training under way: what it reads, and the runs that it logs to."""

    inputs: TrainingInputs
    parent: Run
    children: Mapping[int, Run]
    """The run of each expert."""
    stop: Event
    """Set to end after the batches under way."""
    part: Part | None = None
    """What the training is one of; then it draws no plots."""


@dataclass(frozen=True, slots=True)
class ExpertFailure:
    """Why an expert could not be trained."""

    reason: str


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
