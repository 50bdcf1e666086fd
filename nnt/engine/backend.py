"""What a fit needs from whatever moves the weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import numpy.typing as npt

from nnt.networks import State
from nnt.types import F32, I64

__all__ = ["Arrays", "Backend"]

Arrays = dict[str, npt.NDArray[Any]]


class Backend(Protocol):
    """One network, its optimiser and its training rows.

    All methods but `train` are those of `nnt.kernel.Kernel`.
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
        ...

    def predict(self, inputs: F32) -> F32:
        """Outputs, shape (N, outputs), as in evaluation, by the average if any."""
        ...

    def frozen(self) -> Callable[[F32], F32]:
        """Give a `predict` with the weights of now, for use in another thread."""
        ...

    @property
    def cut(self) -> tuple[float, float] | None:
        """Learned numbers of a decision by z (`nnt.objective`); None without one."""
        ...

    def averaged(self) -> State:
        """Copy of the weights that predict: their moving average where there is one."""
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

    def load_state(self, state: Mapping[str, npt.NDArray[Any]]) -> None:
        """Take over what `state` returned, to the last bit.

        Raises
        ------
        TrainingError
            It is the state of another network or optimiser.
        """
        ...
