"""Trained networks in the form that the firmware holds, or the reason why not.

The firmware knows linear layers with a tanh after each. Batch normalisation is
folded into the linear layer before it, and a network with tanh(x) becomes one with
tanh(x / 2) by doubling its weights and biases.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from torch import nn

from nnt.detector import N_INPUTS, N_TARGETS
from nnt.errors import ExportError
from nnt.models import TanhHalf, build_model
from nnt.types import F32, F64
from nnt.weights import ExpertWeights, State

__all__ = [
    "CLASSIC_ACT",
    "HOUGH3D_ACT",
    "STEEPNESS",
    "FirmwareNetwork",
    "classic_network",
    "firmware_network",
]


CLASSIC_ACT = "tanh/2"
HOUGH3D_ACT = "tanh"
STEEPNESS = {"tanh": 1.0, "tanh/2": 0.5}
"""Factor on the argument of the tanh, by activation."""


@dataclass(frozen=True, slots=True, eq=False)
class FirmwareNetwork:
    """Linear layers with the same activation after each."""

    layers: tuple[tuple[F32, F32], ...]
    """Weights (out, in) and biases (out,) of each layer."""
    act: str
    """``"tanh/2"`` (classic chain) or ``"tanh"`` (3D Hough chain)."""
    changes: tuple[str, ...]
    """What was done to the trained network, for people; empty if nothing."""

    @property
    def sizes(self) -> tuple[int, ...]:
        """Nodes from the inputs to the outputs."""
        return self.layers[0][0].shape[1], *(len(bias) for _, bias in self.layers)

    @property
    def largest_weight(self) -> float:
        """Largest magnitude of all weights and biases."""
        return max(float(np.abs(part).max()) for pair in self.layers for part in pair)

    def state(self) -> State:
        """As the state dict of a chain linear, activation, linear, ..."""
        return {
            f"net.{2 * i}.{kind}": value
            for i, pair in enumerate(self.layers)
            for kind, value in zip(("weight", "bias"), pair, strict=True)
        }


def classic_network(number: int, expert: ExpertWeights) -> FirmwareNetwork:
    """Bring an expert into the form of the classic chain.

    Parameters
    ----------
    number : int
        Of the expert, for messages.
    expert : ExpertWeights
        Of a model with one hidden layer and tanh or tanh/2 after both layers.

    Raises
    ------
    ExportError
        The classic chain cannot hold it.
    """
    network = firmware_network(number, expert, CLASSIC_ACT)
    if len(network.layers) != 2:
        raise ExportError(
            f"expert {number}: the classic chain holds one hidden layer, "
            f"{expert.model} has {len(network.layers) - 1}; train BaselineModel or "
            "BaselineModelBN"
        )
    return network


def firmware_network(number: int, expert: ExpertWeights, act: str) -> FirmwareNetwork:
    """Bring an expert into a chain of linear layers with one activation.

    Parameters
    ----------
    number : int
        Of the expert, for messages.
    expert : ExpertWeights
        Of any model.
    act : str
        ``"tanh/2"`` or ``"tanh"``: the activation that the target has.

    Raises
    ------
    ExportError
        It has another activation, a layer without one, or weights that do not
        fit its model.

    Notes
    -----
    Batch normalisation in evaluation is ``g * (a - mean) / sqrt(var + eps) + b`` of
    each sum ``a``, so it scales the weights and moves the bias. Doubling is exact.
    """
    found = expert.act or CLASSIC_ACT
    changes: list[str] = []
    if found not in STEEPNESS:
        raise ExportError(
            f"expert {number}: the firmware has tanh after each layer, found {found}; "
            "train with act tanh/2 or tanh"
        )
    layers = _folded(number, expert, changes)
    factor = STEEPNESS[found] / STEEPNESS[act]
    if factor != 1:
        changes.append(f"weights times {factor:g}: {found} became {act}")
    return FirmwareNetwork(
        layers=tuple(
            ((weight * factor).astype(np.float32), (bias * factor).astype(np.float32))
            for weight, bias in layers
        ),
        act=act,
        changes=tuple(changes),
    )


def _folded(
    number: int, expert: ExpertWeights, changes: list[str]
) -> list[tuple[F64, F64]]:
    """Linear layers in float64, batch normalisation folded in."""
    # The kinds of layers do not depend on the sizes.
    chain = build_model(expert.model, N_INPUTS, N_TARGETS, expert.act or CLASSIC_ACT)
    if not isinstance(chain.net, nn.Sequential):
        raise ExportError(f"expert {number}: {expert.model} is not a chain of layers")
    layers: list[tuple[F64, F64]] = []
    has_activation = True
    for i, layer in enumerate(chain.net):
        if isinstance(layer, nn.Linear):
            if not has_activation:
                break
            layers.append(_linear(number, expert, i))
            has_activation = False
        elif isinstance(layer, nn.BatchNorm1d) and not has_activation:
            layers[-1] = _fold(layers[-1], _normalisation(number, expert, i), layer.eps)
            changes.append(f"batch normalisation net.{i} folded into the layer before")
        elif isinstance(layer, nn.Tanh | TanhHalf):
            has_activation = True
        else:
            kind = type(layer).__name__
            raise ExportError(f"expert {number}: the firmware has no {kind}")
    if not has_activation:
        raise ExportError(
            f"expert {number}: the firmware has tanh after each layer, "
            f"{expert.model} has a layer without; train BaselineModel or "
            "BaselineModelBN"
        )
    return layers


def _linear(number: int, expert: ExpertWeights, i: int) -> tuple[F64, F64]:
    weight, bias = (_array(number, expert, f"net.{i}.{k}") for k in ("weight", "bias"))
    if weight.ndim != 2 or bias.shape != weight.shape[:1]:
        raise ExportError(
            f"expert {number}: net.{i}: expected weights (out, in) and biases (out,), "
            f"found shapes {weight.shape} and {bias.shape}"
        )
    return weight, bias


def _normalisation(number: int, expert: ExpertWeights, i: int) -> list[F64]:
    kinds = ("weight", "bias", "running_mean", "running_var")
    return [_array(number, expert, f"net.{i}.{kind}") for kind in kinds]


def _array(number: int, expert: ExpertWeights, name: str) -> F64:
    if name not in expert.state:
        raise ExportError(
            f"expert {number}: the weights hold no {name}, which {expert.model} has; "
            "export the run that trained them"
        )
    return expert.state[name].astype(np.float64)


def _fold(
    linear: tuple[F64, F64], normalisation: list[F64], eps: float
) -> tuple[F64, F64]:
    weight, bias = linear
    gain, offset, mean, variance = normalisation
    scale = gain / np.sqrt(variance + eps)
    return weight * scale[:, None], (bias - mean) * scale + offset
