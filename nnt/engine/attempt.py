"""One attempt of a fit, from fresh weights, and how far it has come."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from nnt.config import Config
from nnt.engine.checkpoint import Checkpoint
from nnt.engine.records import Backend, StopReason
from nnt.errors import TrainingError, shorten
from nnt.sampling import Sampler
from nnt.types import I64

MAX_COUNT = 1 << 62


def numbers(owner: object, names: Iterable[str]) -> dict[str, float]:
    """Attributes that a checkpoint holds."""
    return {name: getattr(owner, name) for name in names}


def load_numbers(
    owner: object, names: Iterable[str], values: Mapping[str, Any]
) -> None:
    """Set attributes from a checkpoint; raise ValueError where one is no number."""
    for name in names:
        value, kind = values[name], type(getattr(owner, name))
        if kind is int:
            whole_number(values, name)
        elif type(value) not in (int, float) or math.isnan(value):
            raise ValueError(f"{name}: expected a number, found {shorten(value)}")
        setattr(owner, name, kind(value))


def whole_number(values: Mapping[str, Any], name: str) -> int:
    """Give a counter of a checkpoint; raise ValueError where it is none."""
    value = values[name]
    if type(value) is not int or not 0 <= value < MAX_COUNT:
        raise ValueError(f"{name}: expected a count, found {shorten(value)}")
    return value


class Schedule:
    """Learning rates as `lr_schedule` of a configuration says."""

    KEPT = ("factor", "best", "since_best")

    def __init__(self, config: Config) -> None:
        self._config = config
        self.factor = 1.0
        """Of the rate, after the plateaus so far."""
        self.best = math.inf
        self.since_best = 0

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
        return start * self.factor

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
        self.since_best = 0 if val_loss < self.best else self.since_best + 1
        self.best = min(self.best, val_loss)
        if self.since_best > schedule.patience:
            self.factor *= schedule.factor
            self.since_best = 0


class Attempt:
    """What changes during the epochs of one attempt; `restarts` of them make a fit.

    Parameters
    ----------
    backend : Backend
        Moves the weights.
    number : int
        Of this attempt, from 0.
    sampler : Sampler
        Draws the rows of an epoch.
    rng : numpy.random.Generator
        For the sampler.
    config : Config
        Of this expert.
    """

    KEPT = ("epochs", "since_best", "best_loss", "rows_done", "loss_sum")

    def __init__(
        self,
        backend: Backend,
        number: int,
        sampler: Sampler,
        rng: np.random.Generator,
        config: Config,
    ) -> None:
        self.backend = backend
        self.number = number
        self.is_new = True
        self.epochs = 0
        """Epochs trained; the last one may not be validated yet."""
        self.since_best = 0
        """Epochs validated since the one with the lowest loss."""
        self.best_loss = math.inf
        self.rows_done = 0
        self.loss_sum = 0.0
        self._schedule = Schedule(config)
        self._config = config
        self._sampler = sampler
        self._rng = rng
        self._rng_state = rng.bit_generator.state

    def order(self) -> I64:
        """Draw the rows of the epoch under way."""
        self._rng_state = self._rng.bit_generator.state
        return self._sampler.epoch(self._rng)

    @property
    def rate(self) -> float:
        """Learning rate of the epoch under way."""
        return self._schedule.rate(self.epochs + 1)

    def end_epoch(self) -> None:
        """Count an epoch that is trained."""
        self.epochs += 1
        self.rows_done, self.loss_sum = 0, 0.0
        self._rng_state = self._rng.bit_generator.state

    def record_val_loss(self, val_loss: float) -> None:
        """Take note of the validation loss of the next epoch that was trained."""
        self._schedule.record_val_loss(val_loss)
        self.since_best = 0 if val_loss < self.best_loss else self.since_best + 1
        self.best_loss = min(self.best_loss, val_loss)

    def next_loss_decides(self) -> bool:
        """Whether the next validation loss can end the attempt or change its rate."""
        patience = self._config.early_stopping_patience
        return (
            (patience is not None and self.since_best + 1 >= patience)
            or self._schedule.follows_val_loss
            or self.epochs >= self._config.epochs
        )

    def reason_to_end(self) -> StopReason | None:
        """Why no further epoch is trained; None if one is."""
        patience = self._config.early_stopping_patience
        if self.epochs and patience is not None and self.since_best >= patience:
            return "early stopping"
        return "epochs" if self.epochs >= self._config.epochs else None

    def values(self) -> dict[str, Any]:
        """All but the arrays, as JSON values.

        The random stream is as it was before the epoch under way was drawn.
        """
        return {
            "arithmetic": self.backend.name,
            "number": self.number,
            "schedule": numbers(self._schedule, Schedule.KEPT),
            "rng": self._rng_state,
            **numbers(self, self.KEPT),
        }

    def load(self, checkpoint: Checkpoint) -> None:
        """Go on from a checkpoint.

        Raises
        ------
        TrainingError
            It was made by other arithmetic, or for another network.
        """
        values = checkpoint.values["attempt"]
        if values["arithmetic"] != self.backend.name:
            raise TrainingError(
                f"the checkpoint was made by {values['arithmetic']}, this fit would "
                f"continue with {self.backend.name}; choose the same device and engine"
            )
        self.backend.load_state(checkpoint.backend)
        load_numbers(self._schedule, Schedule.KEPT, values["schedule"])
        self._rng.bit_generator.state = self._rng_state = values["rng"]
        load_numbers(self, self.KEPT, values)
        self.is_new = False
