"""The fast gear: whole epochs of the firmware's network in compiled loops."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from nnt.config import Config
from nnt.engine.types import Arrays, ExpertData
from nnt.errors import TrainingError
from nnt.kernel import Kernel, NonFiniteLossError
from nnt.networks import State, initial_state
from nnt.types import F32, I64

__all__ = ["CompiledGear"]


class CompiledGear:
    """`nnt.kernel` behind the protocol `Gear`.

    Parameters
    ----------
    data : ExpertData
        Rows to train on.
    config : Config
        Of this expert, for which `choose_backend` has chosen the compiled loops.
    generator : numpy.random.Generator
        Draws the first weights, the same ones as for `TorchGear`.
    initial : dict of arrays, optional
        Weights to start from instead.
    """

    name = "compiled loops"

    def __init__(
        self,
        data: ExpertData,
        config: Config,
        generator: np.random.Generator,
        initial: State | None,
    ) -> None:
        drawn = initial_state(config.form, generator)
        self._kernel = Kernel(
            drawn if initial is None else initial,
            config.act,
            config.optim,
            weight_decay=config.weight_decay,
            gradient_clip=config.gradient_clip,
        )
        self._x, self._y = data.x_train, data.y_train
        self._batch_size = config.batch_size

    def train_epoch(self, order: I64, learning_rate: float) -> float:
        """Do one epoch; see `Gear`."""
        try:
            return self._kernel.train_epoch(
                self._x, self._y, order, self._batch_size, learning_rate
            )
        except NonFiniteLossError as err:
            n_batches = -(-len(order) // self._batch_size)
            raise TrainingError(
                f"batch {err.batch + 1} of {n_batches}: the training loss is not "
                "finite; lower learning_rate or set gradient_clip"
            ) from err

    def predict(self, inputs: F32) -> F32:
        """Outputs as in evaluation; see `Gear`."""
        return self._kernel.predict(inputs)

    def frozen(self) -> Callable[[F32], F32]:
        """Give a `predict` with the weights of now; see `Gear`."""
        return self._kernel.frozen()

    def weights(self) -> State:
        """Copy of the weights alone; see `Gear`."""
        return self._kernel.parameters()

    def bad_weights(self) -> str:
        """Name weights that are not finite; see `Gear`."""
        return self._kernel.bad_weights()

    def snapshot(self) -> Callable[[], None]:
        """Remember all that moves; see `Gear`."""
        return self._kernel.snapshot()

    def state(self) -> Arrays:
        """Copy of weights and optimiser; see `Gear`."""
        return self._kernel.state()

    def load_state(self, state: Arrays) -> None:
        """Take over what `state` returned; see `Gear`."""
        self._kernel.load_state(state)
