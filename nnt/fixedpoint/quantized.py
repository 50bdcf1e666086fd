"""The classic network with the firmware's rounding in its forward pass.

Training through it finds weights that are good after rounding. Which bits there are,
and what they mean, is said in `nnt.fixedpoint`; what trains with it, in `nnt.engine`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from nnt.errors import ConfigError
from nnt.fixedpoint.classic_network import tanh_half_table
from nnt.networks import Form, build_module, check_precision
from nnt.networks.firmware import CLASSIC_ACT, STEEPNESS

__all__ = ["QuantizedNetwork"]


class QuantizedNetwork(nn.Module):
    """A plain network that computes what `nnt.fixedpoint.classic` computes.

    Parameters are floats under the names of `Form.shapes`. Gradients pass the
    roundings as if they were not there, and the table as the tanh that it holds.

    Parameters
    ----------
    form : Form
        Plain, with activation ``"tanh/2"``, or ``"tanh"``: then twice the weights
        are rounded, since the firmware holds those.
    precision : sequence of 6 int
        Fractional bits, see `nnt.fixedpoint.DEFAULT_PRECISION`.
    largest_weight : float
        `clip` keeps what the firmware holds within it.

    Raises
    ------
    ConfigError
        The firmware holds no network of this form.
    DataError
        The precision is none.

    Notes
    -----
    Sums of integers are exact in float64, so outputs agree to the last bit. The
    gradient of a rounding is taken to be 1, the straight-through estimator of
    Bengio, Leonard and Courville (arXiv:1308.3432).
    """

    table: Tensor

    def __init__(
        self, form: Form, precision: Sequence[int], largest_weight: float
    ) -> None:
        super().__init__()
        if form.activation not in STEEPNESS or not form.is_plain:
            raise ConfigError(
                f"quantize: the firmware has no {form}; use BaselineModel with tanh/2"
            )
        bits = check_precision(precision)
        floats = build_module(form)
        # Under its name there, so that weights have the same names.
        self.net = floats.net
        self._linear = [m for m in floats.modules() if isinstance(m, nn.Linear)]
        self._factor = STEEPNESS[form.activation] / STEEPNESS[CLASSIC_ACT]
        self._limit = largest_weight
        self._node_scale = 2.0 ** bits[3]
        self._weight_scale = 2.0 ** bits[4]
        self._table_scale = 2.0 ** bits[5]
        values = torch.tensor(tanh_half_table(*bits[3:]) / self._node_scale)
        # Not among the weights that are stored.
        self.register_buffer("table", values, persistent=False)

    def forward(self, inputs: Tensor) -> Tensor:
        """Map (B, inputs) scaled inputs to (B, outputs) float32 outputs.

        Inputs are truncated: those read from text must be snapped to their grid
        before (`nnt.fixedpoint.snap_text_inputs`).
        """
        nodes = torch.trunc(inputs.double() * self._node_scale) / self._node_scale
        for layer in self._linear:
            nodes = _IntegerLayer.apply(  # type: ignore[no-untyped-call]
                nodes,
                layer.weight * self._factor,
                layer.bias * self._factor,
                self.table,
                self._weight_scale,
                self._table_scale,
            )
        return nodes.float()

    @torch.no_grad()
    def clip(self) -> None:
        """Bring weights and biases into the range of the firmware."""
        for parameter in self.parameters():
            parameter.clamp_(-self._limit / self._factor, self._limit / self._factor)

    @torch.no_grad()
    def rounded(self) -> dict[str, Tensor]:
        """Weights and biases as the firmware holds them, by their names."""
        return {
            name: (
                _round(value * self._factor, self._weight_scale).float() / self._factor
            )
            for name, value in self.named_parameters()
        }


class _IntegerLayer(torch.autograd.Function):
    """Rounded weights, exact sums, and the tanh as a table."""

    @staticmethod
    def forward(
        ctx: Any,
        nodes: Tensor,
        weight: Tensor,
        bias: Tensor,
        table: Tensor,
        weight_scale: float,
        table_scale: float,
    ) -> Tensor:
        weight = _round(weight, weight_scale)
        sums = torch.addmm(_round(bias, weight_scale), nodes, weight.T)
        bins = (sums.abs() * table_scale).long()
        magnitude = table[bins.clamp_(max=len(table) - 1)]
        tanh = torch.tanh(sums.float() / 2)
        ctx.save_for_backward(nodes.float(), weight.float(), (1 - tanh * tanh) / 2)
        return torch.where(sums < 0, -magnitude, magnitude)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        nodes, weight, slope = ctx.saved_tensors
        of_sums = gradient.float() * slope
        of_nodes = (of_sums @ weight).double() if ctx.needs_input_grad[0] else None
        return of_nodes, of_sums.T @ nodes, of_sums.sum(0), None, None, None


def _round(value: Tensor, scale: float) -> Tensor:
    """Round to multiples of 1 / scale in float64, halves away from zero."""
    scaled = value.double() * scale
    whole = torch.trunc(scaled)
    away = ((scaled - whole).abs() >= 0.5).double().copysign(scaled)
    return (whole + away) / scale
