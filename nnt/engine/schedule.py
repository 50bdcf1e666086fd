"""The learning rate of each epoch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from nnt.config import Config

__all__ = ["Schedule"]


class Schedule:
    """Learning rates as `lr_schedule` of a configuration says."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._factor = 1.0
        self._best = math.inf
        self._since_best = 0

    def rate(self, number: int) -> float:
        """Learning rate of an epoch, counted from 1."""
        start, schedule = self._config.learning_rate, self._config.lr_schedule
        if schedule is None:
            return start
        if schedule.name == "cosine":
            done = (number - 1) / max(self._config.epochs - 1, 1)
            share = (1 + math.cos(math.pi * done)) / 2
            return schedule.final + (start - schedule.final) * share
        if schedule.name == "step":
            return start * float(schedule.factor ** ((number - 1) // schedule.every))
        return start * self._factor

    @property
    def follows_val_loss(self) -> bool:
        """Whether validation losses change the rate."""
        schedule = self._config.lr_schedule
        return schedule is not None and schedule.name == "plateau"

    def record_val_loss(self, val_loss: float) -> None:
        """Take note of a validation loss; lowers the rate on a plateau."""
        schedule = self._config.lr_schedule
        if schedule is None or schedule.name != "plateau":
            return
        self._since_best = 0 if val_loss < self._best else self._since_best + 1
        self._best = min(self._best, val_loss)
        if self._since_best > schedule.patience:
            self._factor *= schedule.factor
            self._since_best = 0

    def state(self) -> dict[str, Any]:
        """What has been seen so far, as JSON values."""
        return {
            "factor": self._factor,
            "best": self._best,
            "since_best": self._since_best,
        }

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Take over what `state` returned."""
        self._factor = float(state["factor"])
        self._best = float(state["best"])
        self._since_best = int(state["since_best"])
