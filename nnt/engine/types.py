"""What goes into a fit and what comes out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import numpy.typing as npt

from nnt.networks import State
from nnt.types import F32, I64

__all__ = ["Arrays", "Epoch", "ExpertData", "FitResult", "Gear", "StopReason"]

Arrays = dict[str, npt.NDArray[Any]]

StopReason = Literal["epochs", "early stopping", "stopped"]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class ExpertData:
    """Rows of one expert, C-contiguous, in network units."""

    x_train: F32
    """Shape (N, in_size)."""
    y_train: F32
    """Shape (N, out_size)."""
    x_val: F32
    """Shape (M, in_size)."""
    y_val: F32
    """Shape (M, out_size)."""
    reference_val: F32 | None = None
    """Shape (M, out_size): the reference network's outputs, if there is one."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Epoch:
    """One epoch, told as soon as it is done."""

    number: int
    """From 1, through all restarts."""
    metrics: dict[str, float]
    """By the names of the tracked metrics, such as ``val/loss``."""
    time_ms: int = field(compare=False, default=0)
    """When it was done, Unix time."""
    val_output: F32 | None = field(compare=False, repr=False, default=None)
    """Shape (M, out_size): what the network says of the validation rows; None for
    an epoch that was done before the fit was interrupted."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class FitResult:
    """The best weights, and how the fit ended."""

    state: State
    best_epoch: int
    """0 if the weights are those that the fit began with."""
    epochs: int
    """Epochs done, all restarts together."""
    stop_reason: StopReason


class Gear(Protocol):
    """What moves the weights: PyTorch, or compiled loops."""

    name: str
    """Of the arithmetic; another one goes on with other roundings."""

    def train_epoch(self, order: I64, learning_rate: float) -> float:
        """Do one epoch over the rows in this order.

        Returns
        -------
        float
            Mean loss over the rows, each under the weights that it met.
        """
        ...

    def predict(self, inputs: F32) -> F32:
        """Outputs, shape (N, out_size), as in evaluation."""
        ...

    def frozen(self) -> Callable[[F32], F32]:
        """Give a `predict` with the weights of now, for use in another thread."""
        ...

    def weights(self) -> State:
        """Copy of the weights alone."""
        ...

    def bad_weights(self) -> str:
        """Name the first array of weights that is not all finite; empty if none."""
        ...

    def snapshot(self) -> Callable[[], None]:
        """Remember all that moves; what it returns puts it back."""
        ...

    def state(self) -> Arrays:
        """Copy of all that moves: weights, optimiser and buffers."""
        ...

    def load_state(self, state: Arrays) -> None:
        """Take over what `state` returned, to the last bit.

        Raises
        ------
        TrainingError
            It is the state of another network or optimiser.
        """
        ...
