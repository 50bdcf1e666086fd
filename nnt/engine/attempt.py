"""One attempt of a fit, from fresh weights, and how far it has come."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from nnt.config import Config
from nnt.engine.checkpoint import Checkpoint, real_number, whole_number
from nnt.engine.records import Backend, StopReason
from nnt.engine.validation import compared_loss
from nnt.errors import TrainingError
from nnt.sampling import Sampler
from nnt.types import I64


class Attempt:
    """What changes during the epochs of one attempt; `restarts` of them make a fit.

    The backend moves the weights; the sampler draws the rows of an epoch, by `rng`.
    Attempts are counted from 0.
    """

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
        self.rows_done = 0
        self.loss_sum = 0.0
        self._config = config
        self._sampler = sampler
        self._rng = rng
        self._rng_state = rng.bit_generator.state
        self._best_loss = math.inf
        self._since_best = 0
        """Epochs validated since the one with the lowest loss."""
        self._factor = 1.0
        """Of the learning rate, after the plateaus so far."""
        self._on_plateau = 0
        """Epochs validated since the lowest loss, or the last change of the rate."""

    @property
    def rate(self) -> float:
        """Learning rate of the epoch under way, as `lr_schedule` says."""
        start, schedule = self._config.learning_rate, self._config.lr_schedule
        if schedule is None:
            return start
        if schedule.name == "cosine":
            done = self.epochs / max(self._config.epochs - 1, 1)
            share = (1 + math.cos(math.pi * done)) / 2
            return schedule.final + (start - schedule.final) * share
        if schedule.name == "step":
            return start * float(schedule.factor ** (self.epochs // schedule.every))
        return start * self._factor

    def order(self) -> I64:
        """Draw the rows of the epoch under way."""
        self._rng_state = self._rng.bit_generator.state
        return self._sampler.epoch(self._rng)

    def end_epoch(self) -> None:
        """Count an epoch that is trained."""
        self.epochs += 1
        self.rows_done, self.loss_sum = 0, 0.0
        self._rng_state = self._rng.bit_generator.state

    def record_val_loss(self, val_loss: float) -> None:
        """Take note of the validation loss of the next epoch that was trained."""
        is_best = val_loss < self._best_loss
        self._best_loss = min(self._best_loss, val_loss)
        self._since_best = 0 if is_best else self._since_best + 1
        self._on_plateau = 0 if is_best else self._on_plateau + 1
        schedule = self._config.lr_schedule
        if schedule is None or schedule.name != "plateau":
            return
        if self._on_plateau > schedule.patience:
            self._factor *= schedule.factor
            self._on_plateau = 0

    def next_loss_decides(self) -> bool:
        """Whether the next validation loss can end the attempt or change its rate."""
        config, patience = self._config, self._config.early_stopping_patience
        return (
            (patience is not None and self._since_best + 1 >= patience)
            or (config.lr_schedule is not None and config.lr_schedule.name == "plateau")
            or self.epochs >= config.epochs
        )

    def reason_to_end(self) -> StopReason | None:
        """Why no further epoch is trained; None if one is."""
        patience = self._config.early_stopping_patience
        if self.epochs and patience is not None and self._since_best >= patience:
            return "early stopping"
        return "epochs" if self.epochs >= self._config.epochs else None

    def values(self) -> dict[str, Any]:
        """All but the arrays, as JSON values.

        The random stream is as it was before the epoch under way was drawn.
        """
        return {
            "arithmetic": self.backend.name,
            "number": self.number,
            "rng": self._rng_state,
            "epochs": self.epochs,
            "rows_done": self.rows_done,
            "loss_sum": self.loss_sum,
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
        self._rng.bit_generator.state = self._rng_state = values["rng"]
        self.epochs = whole_number(values, "epochs")
        self.rows_done = whole_number(values, "rows_done")
        self.loss_sum = real_number(values, "loss_sum")
        # All else follows from the epochs that the attempt has done.
        before = len(checkpoint.rows) - self.epochs
        if before < 0:
            raise ValueError(f"epochs: expected {self.epochs} of them, {-before} lack")
        for epoch in checkpoint.epochs()[before:]:
            self.record_val_loss(compared_loss(epoch.metrics))
        self.is_new = False
