"""The backend that trains through the firmware's rounding."""

from __future__ import annotations

from torch import Tensor

from nnt.config import Config
from nnt.engine.records import ExpertData
from nnt.engine.torch_backend import TorchBackend
from nnt.errors import ConfigError
from nnt.fixedpoint import snap_text_inputs
from nnt.fixedpoint.quantized import QuantizedNetwork
from nnt.networks import State
from nnt.types import F32

__all__ = ["QuantizedBackend"]


class QuantizedBackend(TorchBackend):
    """Outputs and losses are those of the firmware's integers.

    The compiled loops count in float32, which cannot hold the firmware's sums: so
    this is PyTorch, in float64 where sums must be exact. Inputs are snapped to the
    grid that text files round to.

    Parameters
    ----------
    state : dict of arrays
        First weights.
    config : Config
        Of this expert, with `quantize`.
    data : ExpertData
        Rows to train on.
    device : str
        ``"cpu"`` or ``"cuda"``.

    Raises
    ------
    ConfigError
        The firmware cannot hold the network.
    """

    _network: QuantizedNetwork

    def __init__(
        self, state: State, config: Config, data: ExpertData, device: str
    ) -> None:
        super().__init__(state, config, data, device)
        self._constrain()

    def _make_network(self, config: Config) -> QuantizedNetwork:
        if config.quantize is None:
            raise ConfigError("quantize: expected the bits of the firmware, found null")
        # A checkpoint of other bits is one of other arithmetic.
        bits = ", ".join(str(n) for n in config.quantize.precision)
        self.name = f"{self.name}, in the integers of the firmware ({bits})"
        return QuantizedNetwork(
            config.form,
            config.quantize.precision,
            config.quantize.largest_weight,
            chain=config.chain,
        )

    def _prepared(self, inputs: F32) -> F32:
        return snap_text_inputs(inputs)

    def _constrain(self) -> None:
        self._network.clip()

    def _outputs_and_sums(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self._network.outputs_and_sums(x)

    def averaged(self) -> State:
        """Copy of the weights as the firmware holds them; see `Backend`."""
        network = self._average.module.network
        if not isinstance(network, QuantizedNetwork):
            raise TypeError(f"expected a QuantizedNetwork, found {type(network)}")
        return {n: v.cpu().numpy() for n, v in network.rounded().items()}
