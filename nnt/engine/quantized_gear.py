"""The gear that trains through the firmware's rounding."""

from __future__ import annotations

import dataclasses

import numpy as np
from torch import Tensor, nn

from nnt.config import Config
from nnt.engine.torch_gear import TorchGear
from nnt.engine.types import ExpertData
from nnt.errors import ConfigError
from nnt.fixedpoint import snap_text_inputs
from nnt.fixedpoint.quantized import QuantizedNetwork
from nnt.networks import State
from nnt.types import F32

__all__ = ["QuantizedGear"]


class QuantizedGear(TorchGear):
    """Outputs and losses are those of the firmware's integers.

    The compiled loops count in float32, which cannot hold the firmware's sums: so
    this is PyTorch, in float64 where sums must be exact.

    Parameters
    ----------
    data : ExpertData
        Rows to train on; inputs are snapped to the grid that text files round.
    config : Config
        Of this expert, with `quantize`.
    generator : numpy.random.Generator
        Draws the first weights, the same ones as for `TorchGear`.
    initial : dict of arrays, optional
        Weights to start from instead.
    device : str
        ``"cpu"`` or ``"cuda"``.

    Raises
    ------
    ConfigError
        The firmware cannot hold the network.
    """

    _model: QuantizedNetwork

    def __init__(
        self,
        data: ExpertData,
        config: Config,
        generator: np.random.Generator,
        initial: State | None,
        device: str,
    ) -> None:
        snapped = dataclasses.replace(data, x_train=snap_text_inputs(data.x_train))
        super().__init__(snapped, config, generator, initial, device)
        self._model.clip()

    def _network(self, config: Config) -> nn.Module:
        if config.quantize is None:
            raise ConfigError("quantize: expected the bits of the firmware, found null")
        # A checkpoint of other bits is one of other arithmetic.
        bits = ", ".join(str(n) for n in config.quantize.precision)
        self.name = f"{self.name}, in the integers of the firmware ({bits})"
        return QuantizedNetwork(
            config.form,
            config.quantize.precision,
            config.quantize.largest_weight,
        )

    def _step(self, batch: Tensor) -> Tensor:
        loss = super()._step(batch)
        self._model.clip()
        return loss

    def _predict(self, inputs: F32, model: nn.Module) -> F32:
        # Outputs of the integers, scaled.
        return super()._predict(snap_text_inputs(inputs), model)

    def weights(self) -> State:
        """Copy of the weights as the firmware holds them; see `Gear`."""
        return {n: v.cpu().numpy() for n, v in self._model.rounded().items()}
