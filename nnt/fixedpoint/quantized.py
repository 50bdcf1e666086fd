"""Plain networks with the firmware's rounding in their forward pass.

Training through it finds weights that are good after rounding. What the integers are
is said in `nnt.fixedpoint`; what trains with them, in `nnt.engine`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from nnt.errors import ConfigError
from nnt.fixedpoint.classic_network import tanh_half_table
from nnt.fixedpoint.hough3d_network import (
    NODE_BITS,
    TABLE_SHIFT,
    WEIGHT_BITS,
    WINDOW_BITS,
    fraction_bits_for,
    tanh_table,
)
from nnt.networks import (
    CHAINS,
    CLASSIC,
    DEFAULT_PRECISION,
    Form,
    build_module,
    check_precision,
)
from nnt.networks.firmware import ACTIVATION_OF_CHAIN, STEEPNESS

__all__ = ["QuantizedNetwork"]


class QuantizedNetwork(nn.Module):
    """A plain network that computes what the integers of its chain compute.

    Parameters are floats under the names of `Form.shapes`. Gradients pass the
    roundings as if they were not there, and the table as the tanh that it holds.

    Parameters
    ----------
    form : Form
        Plain, with activation ``"tanh/2"`` or ``"tanh"``. Where it is not that of the
        chain, twice or half of the weights are rounded, since the firmware holds
        those.
    precision : sequence of 6 int
        Fractional bits of the classic chain, see `nnt.fixedpoint.DEFAULT_PRECISION`;
        the 3D Hough chain has fixed ones.
    largest_weight : float
        `clip` keeps what the firmware holds within it. 4 leaves 15 fractional bits
        in the 3D Hough chain.
    chain : str
        ``"classic"`` or ``"3dh"``.

    Raises
    ------
    ConfigError
        The firmware holds no network of this form.
    DataError
        The precision is none.

    Notes
    -----
    Sums of integers are exact in float64, so outputs agree to the last bit with
    `nnt.fixedpoint.classic_layers` and `nnt.fixedpoint.hough3d`. The gradient of a
    rounding is taken to be 1, the straight-through estimator of Bengio, Leonard and
    Courville (arXiv:1308.3432).
    """

    table: Tensor

    def __init__(
        self,
        form: Form,
        precision: Sequence[int] = DEFAULT_PRECISION,
        largest_weight: float = 63.0,
        *,
        chain: str = CLASSIC,
    ) -> None:
        super().__init__()
        if chain not in CHAINS or form.activation not in STEEPNESS or not form.is_plain:
            raise ConfigError(
                f"quantize: the firmware has no {form}; use BaselineModel with tanh/2 "
                "or tanh"
            )
        self._arithmetic: _Arithmetic = (
            _Classic(check_precision(precision)) if chain == CLASSIC else _Hough3D()
        )
        floats = build_module(form)
        # Under its name there, so that weights have the same names.
        self.net = floats.net
        self._linear = [m for m in floats.modules() if isinstance(m, nn.Linear)]
        target = ACTIVATION_OF_CHAIN[chain]
        self._factor = STEEPNESS[form.activation] / STEEPNESS[target]
        self._limit = self._arithmetic.largest(largest_weight) / self._factor
        # Not among the weights that are stored.
        self.register_buffer("table", self._arithmetic.table(), persistent=False)

    def forward(self, inputs: Tensor) -> Tensor:
        """Map (B, inputs) scaled inputs to (B, outputs) float32 outputs.

        The classic chain truncates inputs: those read from text must be snapped to
        their grid before (`nnt.fixedpoint.snap_text_inputs`).
        """
        return self.outputs_and_sums(inputs)[0]

    def outputs_and_sums(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Give the outputs, and the pre-activations of the last layer.

        Returns
        -------
        outputs, sums : float32 tensors, shape (B, outputs)
            Sums before the activation of the form, as the firmware has them.
        """
        nodes = self._arithmetic.to_nodes(inputs.double())
        scale = self._weight_scale()
        sums = nodes
        for layer in self._linear:
            sums = _Sums.apply(  # type: ignore[no-untyped-call]
                nodes, layer.weight * self._factor, layer.bias * self._factor, scale
            )
            nodes = _Table.apply(  # type: ignore[no-untyped-call]
                sums, self.table, self._arithmetic.index, self._arithmetic.slope
            )
        return nodes.float(), (sums / self._factor).float()

    @torch.no_grad()
    def _weight_scale(self) -> float:
        largest = max(float(p.abs().max()) for p in self.parameters())
        return self._arithmetic.weight_scale(largest * self._factor)

    @torch.no_grad()
    def clip(self) -> None:
        """Bring weights and biases into the range of the firmware."""
        for parameter in self.parameters():
            parameter.clamp_(-self._limit, self._limit)

    @torch.no_grad()
    def rounded(self) -> dict[str, Tensor]:
        """Weights and biases as the firmware holds them, by their names."""
        scale = self._weight_scale()
        return {
            name: _round(value * self._factor, scale).float() / self._factor
            for name, value in self.named_parameters()
        }


class _Arithmetic(Protocol):
    """What sets the chains apart; values are in units of the network, not steps."""

    def table(self) -> Tensor:
        """Values of the activation, the last one beyond its end."""

    def to_nodes(self, inputs: Tensor) -> Tensor:
        """Round float64 inputs."""

    def weight_scale(self, largest: float) -> float:
        """Steps per unit of weights of which this is the largest."""

    def largest(self, limit: float) -> float:
        """Largest weight within a limit that a word holds."""

    def index(self, sums: Tensor) -> Tensor:
        """Place of sums in the table, before its end."""

    def slope(self, sums: Tensor) -> Tensor:
        """Derivative of the activation, float32."""


class _Classic:
    """Of `nnt.fixedpoint.classic_layers`."""

    def __init__(self, bits: tuple[int, ...]) -> None:
        self._bits = bits[3:]
        self._node_scale = 2.0 ** bits[3]
        self._weight_scale = 2.0 ** bits[4]
        self._table_scale = 2.0 ** bits[5]

    def table(self) -> Tensor:
        return torch.tensor(tanh_half_table(*self._bits) / self._node_scale)

    def to_nodes(self, inputs: Tensor) -> Tensor:
        return torch.trunc(inputs * self._node_scale) / self._node_scale

    def weight_scale(self, largest: float) -> float:
        return self._weight_scale

    def largest(self, limit: float) -> float:
        return limit

    def index(self, sums: Tensor) -> Tensor:
        return (sums.abs() * self._table_scale).long()

    def slope(self, sums: Tensor) -> Tensor:
        tanh = torch.tanh(sums.float() / 2)
        return (1 - tanh * tanh) / 2


class _Hough3D:
    """Of `nnt.fixedpoint.hough3d`."""

    def table(self) -> Tensor:
        return torch.tensor(tanh_table() / 2.0**NODE_BITS)

    def to_nodes(self, inputs: Tensor) -> Tensor:
        return _round(inputs, 2.0**NODE_BITS)

    def weight_scale(self, largest: float) -> float:
        return 2.0 ** fraction_bits_for(largest)

    def largest(self, limit: float) -> float:
        # The limit itself, if it is a power of two, is one step more than a word holds.
        return limit * (1 - 2.0**-WEIGHT_BITS)

    def index(self, sums: Tensor) -> Tensor:
        half = 1 << (WINDOW_BITS - 1)
        window = torch.floor(sums * 2.0**NODE_BITS).long()
        wrapped = ((window + half) & (2 * half - 1)) - half
        return wrapped.abs() >> TABLE_SHIFT

    def slope(self, sums: Tensor) -> Tensor:
        tanh = torch.tanh(sums.float())
        return 1 - tanh * tanh


class _Sums(torch.autograd.Function):
    """Exact sums of rounded weights."""

    @staticmethod
    def forward(
        ctx: Any, nodes: Tensor, weight: Tensor, bias: Tensor, scale: float
    ) -> Tensor:
        weight = _round(weight, scale)
        ctx.save_for_backward(nodes.float(), weight.float())
        return torch.addmm(_round(bias, scale), nodes, weight.T)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        nodes, weight = ctx.saved_tensors
        of_sums = gradient.float()
        of_nodes = (of_sums @ weight).double() if ctx.needs_input_grad[0] else None
        return of_nodes, of_sums.T @ nodes, of_sums.sum(0), None


class _Table(torch.autograd.Function):
    """The activation as a table of magnitudes; the sign is that of the sum."""

    @staticmethod
    def forward(
        ctx: Any,
        sums: Tensor,
        table: Tensor,
        index: Callable[[Tensor], Tensor],
        slope: Callable[[Tensor], Tensor],
    ) -> Tensor:
        magnitude = table[index(sums).clamp_(max=len(table) - 1)]
        ctx.save_for_backward(slope(sums))
        return torch.where(sums < 0, -magnitude, magnitude)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        (slope,) = ctx.saved_tensors
        return (gradient.float() * slope).double(), None, None, None


def _round(value: Tensor, scale: float) -> Tensor:
    """Round to multiples of 1 / scale in float64, halves away from zero."""
    scaled = value.double() * scale
    whole = torch.trunc(scaled)
    away = ((scaled - whole).abs() >= 0.5).double().copysign(scaled)
    return (whole + away) / scale
