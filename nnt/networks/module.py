"""Networks as PyTorch modules; nothing else in this package needs PyTorch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from nnt.networks.form import NORMALISATION_EPSILON, Form, Layer, State

PLACE: dict[str, Any] = {"device": "cpu", "dtype": torch.float32}
"""Where and how weights are kept, whatever the defaults of the program are."""


class TanhHalf(nn.Module):
    """tanh(x / 2), the activation of the firmware."""

    def forward(self, x: Tensor) -> Tensor:
        """Apply it to every element."""
        return torch.tanh(x / 2)


ACTIVATION_MODULES: dict[str, Callable[[], nn.Module]] = {
    "tanh": nn.Tanh,
    "tanh/2": TanhHalf,
    "softsign": nn.Softsign,
    "relu": nn.ReLU,
    "sigmoid": nn.Sigmoid,
    "leaky_relu": nn.LeakyReLU,
    "selu": nn.SELU,
}
"""What computes each of `nnt.networks.form.ACTIVATIONS`."""


class Network(nn.Module):
    """A chain of layers under the attribute `net`, which names the weights.

    Parameters
    ----------
    form : Form
        Of the network; the first weights are those of PyTorch.
    """

    def __init__(self, form: Form) -> None:
        super().__init__()
        self.form = form
        self.net = nn.Sequential(*(_module(layer, form) for layer in form.layers))

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, inputs) scaled inputs to (B, outputs) scaled outputs."""
        out: Tensor = self.net(x)
        return out


def _module(layer: Layer, form: Form) -> nn.Module:
    if layer.kind == "linear":
        return nn.Linear(layer.inputs, layer.outputs, **PLACE)
    if layer.kind == "normalisation":
        return nn.BatchNorm1d(layer.outputs, eps=NORMALISATION_EPSILON, **PLACE)
    return ACTIVATION_MODULES[form.activation]()


def build_module(form: Form, state: State | None = None) -> Network:
    """Build a network.

    Parameters
    ----------
    form : Form
        What it is.
    state : dict of arrays, optional
        Its weights; default: those with which PyTorch begins.

    Raises
    ------
    RuntimeError
        The weights are those of another form.
    """
    network = Network(form)
    if state is not None:
        load_state(network, state)
    return network


def load_state(module: nn.Module, state: State) -> None:
    """Give a module the values of a state; nothing is shared with the arrays.

    Raises
    ------
    RuntimeError
        The names or shapes are others.
    """
    module.load_state_dict({n: torch.from_numpy(np.array(v)) for n, v in state.items()})
