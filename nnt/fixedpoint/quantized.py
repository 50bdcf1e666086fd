"""Plain networks with the firmware's rounding in their forward pass.

Training through it finds weights that are good after rounding. What the integers are
is said in `nnt.fixedpoint`; what trains with them, in `nnt.engine`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from nnt.detector import CHAINS
from nnt.errors import ConfigError
from nnt.fixedpoint.integers import (
    NODE_BITS,
    TABLE_SHIFT,
    WEIGHT_BITS,
    WINDOW_BITS,
    fraction_bits_for,
    tanh_half_table,
    tanh_table,
)
from nnt.networks import CLASSIC, DEFAULT_PRECISION, Form, check_precision
from nnt.networks.firmware import STEEPNESS
from nnt.networks.module import build_module


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
        self._bits = check_precision(precision)
        self._is_classic = chain == CLASSIC
        table = tanh_half_table(*self._bits[3:]) if self._is_classic else tanh_table()
        self._node_scale = 2.0 ** (self._bits[3] if self._is_classic else NODE_BITS)
        floats = build_module(form)
        # Under its name there, so that weights have the same names.
        self.net = floats.net
        self._linear = [m for m in floats.modules() if isinstance(m, nn.Linear)]
        self._steepness = STEEPNESS[CHAINS[chain].activation]
        self._factor = STEEPNESS[form.activation] / self._steepness
        # A word of the 3D Hough chain holds one step less than a power of two.
        fills = 1.0 if self._is_classic else 1 - 2.0**-WEIGHT_BITS
        self._limit = fills * largest_weight / self._factor
        # Not among the weights that are stored.
        values = torch.from_numpy(table / self._node_scale)
        self.register_buffer("table", values, persistent=False)

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
        nodes = inputs.double() * self._node_scale
        # The classic chain truncates.
        nodes = torch.trunc(nodes) if self._is_classic else _round(nodes)
        nodes = sums = nodes / self._node_scale
        scale = self._weight_scale()
        for layer in self._linear:
            sums = _Sums.apply(  # type: ignore[no-untyped-call]
                nodes, layer.weight * self._factor, layer.bias * self._factor, scale
            )
            place = self._place(sums.detach()).clamp_(max=len(self.table) - 1)
            nodes = _Table.apply(  # type: ignore[no-untyped-call]
                sums, self.table[place], self._steepness
            )
        return nodes.float(), (sums / self._factor).float()

    def _place(self, sums: Tensor) -> Tensor:
        """Place of sums in the table, before its end."""
        if self._is_classic:
            return (sums.abs() * 2.0 ** self._bits[5]).long()
        half = 1 << (WINDOW_BITS - 1)
        window = torch.floor(sums * self._node_scale).long()
        return (((window + half) & (2 * half - 1)) - half).abs() >> TABLE_SHIFT

    @torch.no_grad()
    def _weight_scale(self) -> float:
        """Steps per unit of the weights."""
        if self._is_classic:
            return 2.0 ** self._bits[4]
        largest = max(float(p.abs().max()) for p in self.parameters())
        return 2.0 ** fraction_bits_for(largest * self._factor)

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
            name: _rounded(value * self._factor, scale).float() / self._factor
            for name, value in self.named_parameters()
        }


class _Sums(torch.autograd.Function):
    """Exact sums of rounded weights."""

    @staticmethod
    def forward(
        ctx: Any, nodes: Tensor, weight: Tensor, bias: Tensor, scale: float
    ) -> Tensor:
        weight = _rounded(weight, scale)
        ctx.save_for_backward(nodes.float(), weight.float())
        return torch.addmm(_rounded(bias, scale), nodes, weight.T)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        nodes, weight = ctx.saved_tensors
        of_sums = gradient.float()
        of_nodes = (of_sums @ weight).double() if ctx.needs_input_grad[0] else None
        return of_nodes, of_sums.T @ nodes, of_sums.sum(0), None


class _Table(torch.autograd.Function):
    """The activation as a table of magnitudes; the sign is that of the sum."""

    @staticmethod
    def forward(ctx: Any, sums: Tensor, magnitude: Tensor, steepness: float) -> Tensor:
        tanh = torch.tanh(sums.float() * steepness)
        ctx.save_for_backward((1 - tanh * tanh) * steepness)
        return torch.where(sums < 0, -magnitude, magnitude)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        (slope,) = ctx.saved_tensors
        return (gradient.float() * slope).double(), None, None


def _round(value: Tensor) -> Tensor:
    """Round float64 to whole numbers, halves away from zero."""
    whole = torch.trunc(value)
    return whole + ((value - whole).abs() >= 0.5).double().copysign(value)


def _rounded(value: Tensor, scale: float) -> Tensor:
    """Round to multiples of 1 / scale in float64."""
    return _round(value.double() * scale) / scale
