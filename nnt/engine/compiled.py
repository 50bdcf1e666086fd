"""The fast backend: whole epochs of a plain network in compiled loops."""

from __future__ import annotations

from nnt.config import Config
from nnt.engine.records import ExpertData
from nnt.errors import TrainingError
from nnt.kernel import Kernel, NonFiniteLossError
from nnt.networks import State
from nnt.types import I64


class CompiledBackend(Kernel):
    """`nnt.kernel.Kernel` with the rows that it trains on."""

    name = "compiled loops"

    def __init__(self, state: State, config: Config, data: ExpertData) -> None:
        super().__init__(
            state,
            config.form,
            config.objective,
            config.optim,
            weight_decay=config.weight_decay,
            gradient_clip=config.gradient_clip,
            average=config.average,
        )
        self._rows = data.x_train, data.y_train, data.w_train
        self._batch_size = config.batch_size

    def train(self, order: I64, learning_rate: float) -> float:
        """Train on the rows in this order; see `Backend`."""
        try:
            return self.train_epoch(*self._rows, order, self._batch_size, learning_rate)
        except NonFiniteLossError as err:
            n_batches = -(-len(order) // self._batch_size)
            raise TrainingError(
                f"batch {err.batch + 1} of {n_batches}: the training loss is not "
                "finite; lower learning_rate or set gradient_clip"
            ) from err
