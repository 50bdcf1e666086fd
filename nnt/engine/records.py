"""What goes into a fit, what moves the weights, and what comes out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import numpy.typing as npt

from nnt.networks import State
from nnt.types import F32, I64

StopReason = Literal["epochs", "early stopping", "stopped", "failed"]
Arrays = dict[str, npt.NDArray[Any]]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class ExpertData:
    """Rows of one expert, C-contiguous, in network units."""

    x_train: F32
    """Shape (N, inputs)."""
    y_train: F32
    """Shape (N, targets): the outputs, see `nnt.objective`."""
    x_val: F32
    """Shape (M, inputs)."""
    y_val: F32
    """Shape (M, targets)."""
    w_train: F32 | None = None
    """Shape (N, targets): how much each row counts; None: all the same."""
    w_val: F32 | None = None
    """Shape (M, targets)."""
    reference_val: F32 | None = None
    """Shape (M, measured): what a reference network predicts for the outputs z and
    theta of the network, if there is one."""


class Backend(Protocol):
    """One network, its optimiser and its training rows.

    All methods but `train` are methods of `nnt.kernel.Kernel`.
    """

    name: str
    """Of the arithmetic; that of another checkpoint would round otherwise."""

    def train(self, order: I64, learning_rate: float) -> float:
        """Train on the rows in this order, batch by batch.

        Returns
        -------
        float
            Mean loss over the rows, each before the step that it contributed to.

        Raises
        ------
        TrainingError
            The loss of a batch is not finite.
        """

    def frozen(self) -> Callable[[F32], F32]:
        """Give what predicts with the weights of now, by their average if any.

        It takes inputs, shape (N, inputs), gives outputs, shape (N, outputs), and may
        be called in another thread.
        """

    @property
    def cut(self) -> tuple[float, float] | None:
        """Learned numbers of a decision by z (`nnt.objective`); None without one."""

    def parameters(self) -> State:
        """Copy of the weights, float32."""

    def set_parameters(self, state: State) -> None:
        """Replace the weights; moments and step stay."""

    def averaged(self) -> State:
        """Copy of the weights that predict: their moving average where there is one."""

    def bad_weights(self) -> str:
        """Name the first array of weights that is not all finite; empty if none."""

    def state(self) -> Arrays:
        """Copy of all that moves: weights, optimiser and buffers."""

    def load_state(self, state: Mapping[str, npt.NDArray[Any]]) -> None:
        """Take over what `state` returned, to the last bit.

        Raises
        ------
        TrainingError
            It is the state of another network or optimiser.
        """


@dataclass(frozen=True, kw_only=True, slots=True)
class Epoch:
    """One epoch, reported as soon as it has been validated."""

    number: int
    """From 1, through all restarts."""
    metrics: dict[str, float]
    """By the names of the tracked metrics, such as ``val/loss``."""
    time_ms: int = field(compare=False, default=0)
    """When it was done, Unix time."""
    val_output: F32 | None = field(compare=False, repr=False, default=None)
    """Shape (M, outputs): what the network predicts for the validation rows; None for
    an epoch that was done before the fit was interrupted."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class FitResult:
    """The best weights, and how the fit ended."""

    state: State
    """Empty if it failed."""
    best_epoch: int
    """0 if the weights are those that the fit began with."""
    epochs: int
    """Epochs done, all restarts together."""
    stop_reason: StopReason
    error: str = ""
    """Why it failed; empty if it did not."""
