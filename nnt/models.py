"""Networks, activations and how their weights begin, by name."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from nnt.detector import N_HIDDEN
from nnt.errors import ConfigError, did_you_mean

__all__ = [
    "ACTIVATIONS",
    "MODELS",
    "BaselineModel",
    "BaselineModelBN",
    "SimpleModel",
    "TanhHalf",
    "build_model",
    "initialise",
]


class TanhHalf(nn.Module):
    """tanh(x / 2), the activation of the firmware."""

    def forward(self, x: Tensor) -> Tensor:
        """Apply it to every element."""
        return torch.tanh(x / 2)


ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "tanh": nn.Tanh,
    "tanh/2": TanhHalf,
    "softsign": nn.Softsign,
    "relu": nn.ReLU,
    "sigmoid": nn.Sigmoid,
    "leaky_relu": nn.LeakyReLU,
    "selu": nn.SELU,
}


class _Network(nn.Module):
    """A chain of layers under the attribute `net`, which names the weights."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.net = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, in_size) scaled inputs to (B, out_size) scaled outputs."""
        out: Tensor = self.net(x)
        return out


class BaselineModel(_Network):
    """The network of the firmware: in_size - 81 - out_size, activation after both."""

    def __init__(self, in_size: int, out_size: int, act: str) -> None:
        activation = ACTIVATIONS[act]
        super().__init__(
            nn.Linear(in_size, N_HIDDEN),
            activation(),
            nn.Linear(N_HIDDEN, out_size),
            activation(),
        )


class BaselineModelBN(_Network):
    """`BaselineModel` with batch normalisation after the first linear layer."""

    def __init__(self, in_size: int, out_size: int, act: str) -> None:
        activation = ACTIVATIONS[act]
        super().__init__(
            nn.Linear(in_size, N_HIDDEN),
            nn.BatchNorm1d(N_HIDDEN),
            activation(),
            nn.Linear(N_HIDDEN, out_size),
            activation(),
        )


class SimpleModel(_Network):
    """in_size - 50 - 100 - 50 - 10 - out_size, batch normalisation, linear output."""

    def __init__(self, in_size: int, out_size: int, act: str) -> None:
        layers: list[nn.Module] = []
        width = in_size
        for hidden in (50, 100, 50, 10):
            layers += [nn.Linear(width, hidden), nn.BatchNorm1d(hidden)]
            layers += [ACTIVATIONS[act]()]
            width = hidden
        super().__init__(*layers, nn.Linear(width, out_size))


MODELS: dict[str, Callable[[int, int, str], nn.Module]] = {
    "BaselineModel": BaselineModel,
    "BaselineModelBN": BaselineModelBN,
    "SimpleModel": SimpleModel,
}


def build_model(name: str, in_size: int, out_size: int, act: str) -> nn.Module:
    """Build a network by name.

    Parameters
    ----------
    name : str
        A key of `MODELS`.
    in_size, out_size : int
        Inputs and outputs.
    act : str
        A key of `ACTIVATIONS`.

    Raises
    ------
    ConfigError
        There is no such model or activation.
    """
    if name not in MODELS:
        raise ConfigError(f"model: unknown {name!r}; {did_you_mean(name, MODELS)}")
    if act not in ACTIVATIONS:
        raise ConfigError(f"act: unknown {act!r}; {did_you_mean(act, ACTIVATIONS)}")
    return MODELS[name](in_size, out_size, act)


def initialise(module: nn.Module, generator: np.random.Generator) -> None:
    """Draw all weights of linear layers anew, in the order of the layers.

    Parameters
    ----------
    module : nn.Module
        Changed in place; layers that are not linear keep PyTorch's start.
    generator : numpy.random.Generator
        The only source of randomness: PyTorch's global one is shared by all
        threads.

    Notes
    -----
    U(-1/sqrt(n), 1/sqrt(n)) with n inputs, as `torch.nn.Linear` does.
    """
    for layer in module.modules():
        if isinstance(layer, nn.Linear):
            bound = 1 / math.sqrt(layer.in_features)
            for parameter in (layer.weight, layer.bias):
                drawn = generator.uniform(-bound, bound, tuple(parameter.shape))
                with torch.no_grad():
                    parameter.copy_(torch.from_numpy(drawn.astype(np.float32)))
