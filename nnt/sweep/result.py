"""What a sweep leaves in the hands of its caller."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from nnt.sweep.record import Trial
from nnt.sweep.space import Space


@dataclass(frozen=True, kw_only=True, slots=True)
class SweepResult:
    """A sweep: its run, its trials and the best of them.

    Attributes
    ----------
    run_id, experiment_id, tracking_uri : str
        Of the run of the sweep.
    outcome : str
        ``"FINISHED"`` or ``"KILLED"``.
    is_exhausted : bool
        Whether there was nothing left to try.
    metrics : tuple of str
        What was searched for.
    trials : tuple of Trial
        By number.
    best : tuple of int
        Number of the best trial; of several metrics, of all on the front.
    space : Space
        What was varied.
    """

    run_id: str
    experiment_id: str
    tracking_uri: str
    outcome: str
    is_exhausted: bool
    metrics: tuple[str, ...]
    trials: tuple[Trial, ...]
    best: tuple[int, ...]
    space: Space

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
