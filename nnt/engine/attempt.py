"""One attempt of a fit, from fresh weights, and how far it has come."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from nnt.config import Config
from nnt.engine.checkpoint import (
    Checkpoint,
    only_of_this_fit,
    real_number,
    whole_number,
)
from nnt.engine.records import Backend, StopReason
from nnt.engine.validation import compared_loss
from nnt.errors import TrainingError
from nnt.networks import State
from nnt.sampling import Sampler
from nnt.types import I64


@dataclass(eq=False)
class Attempt:
    """What changes during the epochs of one attempt; `restarts` of them make a fit."""

    number: int
    """From 0."""
    config: Config
    backend: Backend
    rng: np.random.Generator
    """Draws the rows of an epoch."""
    epochs: int = 0
    """Epochs trained; the last one may not be validated yet."""
    rows_done: int = 0
    """Of the epoch under way."""
    loss_sum: float = 0.0
    """Over these rows."""
    rng_before: Any = None
    """State of the random stream before the epoch under way was drawn, if one is."""
    best_loss: float = math.inf
    since_best: int = 0
    """Epochs validated since the one with the lowest loss."""
    factor: float = 1.0
    """Of the learning rate, after the plateaus so far."""
    on_plateau: int = 0
    """Epochs validated since the lowest loss, or the last change of the rate."""

    @property
    def rate(self) -> float:
        """Learning rate of the epoch under way, as `lr_schedule` says."""
        start, schedule = self.config.learning_rate, self.config.lr_schedule
        if schedule is None:
            return start
        if schedule.name == "cosine":
            done = self.epochs / max(self.config.epochs - 1, 1)
            share = (1 + math.cos(math.pi * done)) / 2
            return schedule.final + (start - schedule.final) * share
        if schedule.name == "step":
            return start * float(schedule.factor ** (self.epochs // schedule.every))
        return start * self.factor

    def order(self, sampler: Sampler) -> I64:
        """Draw the rows of the epoch under way."""
        self.rng_before = self.rng.bit_generator.state
        return sampler.epoch(self.rng)

    def end_epoch(self) -> None:
        """Count an epoch that is trained."""
        self.epochs += 1
        self.rows_done, self.loss_sum, self.rng_before = 0, 0.0, None

    def record_val_loss(self, val_loss: float) -> None:
        """Take note of the validation loss of the next epoch that was trained."""
        is_best = val_loss < self.best_loss
        self.best_loss = min(self.best_loss, val_loss)
        self.since_best = 0 if is_best else self.since_best + 1
        self.on_plateau = 0 if is_best else self.on_plateau + 1
        schedule = self.config.lr_schedule
        if schedule is None or schedule.name != "plateau":
            return
        if self.on_plateau > schedule.patience:
            self.factor *= schedule.factor
            self.on_plateau = 0

    def next_loss_decides(self) -> bool:
        """Whether the next validation loss can end the attempt or change its rate."""
        config, patience = self.config, self.config.early_stopping_patience
        return (
            (patience is not None and self.since_best + 1 >= patience)
            or (config.lr_schedule is not None and config.lr_schedule.name == "plateau")
            or self.epochs >= config.epochs
        )

    def reason_to_end(self) -> StopReason | None:
        """Why no further epoch is trained; None if one is."""
        patience = self.config.early_stopping_patience
        if self.epochs and patience is not None and self.since_best >= patience:
            return "early stopping"
        return "epochs" if self.epochs >= self.config.epochs else None

    def values(self) -> dict[str, Any]:
        """All that a checkpoint needs but the arrays, as JSON values."""
        return {
            "arithmetic": self.backend.name,
            "number": self.number,
            "rng": self.rng_before or self.rng.bit_generator.state,
            "epochs": self.epochs,
            "rows_done": self.rows_done,
            "loss_sum": self.loss_sum,
        }

    @only_of_this_fit()
    def load(self, checkpoint: Checkpoint) -> None:
        """Go on from a checkpoint.

        Raises
        ------
        TrainingError
            It was made by other arithmetic, or for another network.
        """
        values = checkpoint.values["attempt"]
        _check_best(self.backend.averaged(), checkpoint.best)
        if values["arithmetic"] != self.backend.name:
            raise TrainingError(
                f"the checkpoint was made by {values['arithmetic']}, this fit would "
                f"continue with {self.backend.name}; choose the same device and engine"
            )
        self.backend.load_state(checkpoint.backend)
        self.rng.bit_generator.state = values["rng"]
        self.epochs = whole_number(values, "epochs")
        self.rows_done = whole_number(values, "rows_done")
        self.loss_sum = real_number(values, "loss_sum")
        # All else follows from the epochs that the attempt has done.
        before = len(checkpoint.epochs) - self.epochs
        if before < 0:
            raise ValueError(f"epochs: expected {self.epochs} of them, {-before} lack")
        for epoch in checkpoint.epochs[before:]:
            self.record_val_loss(compared_loss(epoch.metrics))


def _check_best(weights: State, best: State) -> None:
    """Refuse best weights of another network, which would be the result."""
    forms = [
        {name: (value.shape, value.dtype) for name, value in state.items()}
        for state in (weights, best)
    ]
    if forms[0] != forms[1] or not all(np.isfinite(v).all() for v in best.values()):
        raise ValueError("the best weights belong to another network")
