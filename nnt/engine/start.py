"""One start of a fit from fresh weights, and how far it has come."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from nnt.config import Config
from nnt.engine.checkpoint import Checkpoint
from nnt.engine.schedule import Schedule
from nnt.engine.types import Gear
from nnt.errors import TrainingError, shorten
from nnt.sampling import Sampler
from nnt.types import I64

__all__ = ["Start", "real_number", "whole_number"]

MAX_COUNT = 1 << 62


class Start:
    """What moves during the epochs of one start.

    Parameters
    ----------
    gear : Gear
        Moves the weights.
    restart : int
        Number of this start, from 0.
    sampler : Sampler
        Draws the rows of an epoch.
    rng : numpy.random.Generator
        For the sampler.
    config : Config
        Of this expert.
    """

    COUNTERS = ("number", "since_best", "best_loss", "rows_done", "loss_sum")

    def __init__(
        self,
        gear: Gear,
        restart: int,
        sampler: Sampler,
        rng: np.random.Generator,
        config: Config,
    ) -> None:
        self.gear = gear
        self.restart = restart
        self.schedule = Schedule(config)
        self.is_new = True
        self.number = 0
        self.since_best = 0
        self.best_loss = math.inf
        self.rows_done = 0
        self.loss_sum = 0.0
        self._sampler = sampler
        self._rng = rng
        self._rng_state = rng.bit_generator.state

    def order(self) -> I64:
        """Draw the rows of the epoch under way."""
        self._rng_state = self._rng.bit_generator.state
        return self._sampler.epoch(self._rng)

    def end_epoch(self) -> None:
        """Count an epoch that is trained."""
        self.number += 1
        self.rows_done, self.loss_sum = 0, 0.0
        self._rng_state = self._rng.bit_generator.state

    def see(self, val_loss: float) -> None:
        """Take note of the validation loss of the next epoch that was trained."""
        self.schedule.see(val_loss)
        self.since_best = 0 if val_loss < self.best_loss else self.since_best + 1
        self.best_loss = min(self.best_loss, val_loss)

    def values(self) -> dict[str, Any]:
        """All but the arrays, as JSON values.

        The random stream is as it was before the epoch under way was drawn.
        """
        return {
            "arithmetic": self.gear.name,
            "restart": self.restart,
            "schedule": self.schedule.state(),
            "rng": self._rng_state,
            **{name: getattr(self, name) for name in self.COUNTERS},
        }

    def load(self, checkpoint: Checkpoint) -> None:
        """Go on from a checkpoint.

        Raises
        ------
        TrainingError
            It was made by other arithmetic, or for another network.
        """
        values = checkpoint.values["start"]
        if values["arithmetic"] != self.gear.name:
            raise TrainingError(
                f"the checkpoint was made by {values['arithmetic']}, this fit would go "
                f"on by {self.gear.name}; choose the same device and engine"
            )
        self.gear.load_state(checkpoint.gear)
        self.schedule.load_state(values["schedule"])
        self._rng.bit_generator.state = self._rng_state = values["rng"]
        self.number, self.since_best, self.rows_done = (
            whole_number(values, name) for name in ("number", "since_best", "rows_done")
        )
        self.best_loss = real_number(values, "best_loss")
        self.loss_sum = real_number(values, "loss_sum")
        self.is_new = False


def whole_number(values: Mapping[str, Any], name: str) -> int:
    """Give a counter; raise ValueError where it is none."""
    value = values[name]
    if type(value) is not int or not 0 <= value < MAX_COUNT:
        raise ValueError(f"{name}: expected a count, found {shorten(value)}")
    return value


def real_number(values: Mapping[str, Any], name: str) -> float:
    """Give a number; raise ValueError where it is none."""
    value = values[name]
    if type(value) not in (int, float) or math.isnan(value):
        raise ValueError(f"{name}: expected a number, found {shorten(value)}")
    return float(value)
