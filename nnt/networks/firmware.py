"""Trained networks in the form that the firmware holds, or the reason why not.

The firmware knows linear layers with a tanh after each. Batch normalisation is
folded into the linear layer before it, and a network with tanh(x) becomes one with
tanh(x / 2) by doubling its weights and biases.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from nnt.errors import ExportError
from nnt.networks.form import NORMALISATION_EPSILON, PLAIN_MODEL, Form, State
from nnt.networks.weights import CLASSIC, HOUGH3D, ExpertWeights
from nnt.types import F32, F64

CLASSIC_ACT = "tanh/2"
HOUGH3D_ACT = "tanh"
ACTIVATION_OF_CHAIN = {CLASSIC: CLASSIC_ACT, HOUGH3D: HOUGH3D_ACT}
STEEPNESS = {"tanh": 1.0, "tanh/2": 0.5}
"""Factor on the argument of the tanh, by activation."""


@dataclass(frozen=True, slots=True, eq=False)
class FirmwareNetwork:
    """Linear layers with the same activation after each."""

    form: Form
    """Plain, with ``"tanh/2"`` (classic chain) or ``"tanh"`` (3D Hough chain)."""
    layers: tuple[tuple[F32, F32], ...]
    """Weights (out, in) and biases (out,) of each layer."""
    changes: tuple[str, ...]
    """What was done to the trained network, for people; empty if nothing."""

    @property
    def largest_weight(self) -> float:
        """Largest magnitude of all weights and biases."""
        return max(float(np.abs(part).max()) for pair in self.layers for part in pair)

    def state(self) -> State:
        """As the weights of a network of its form."""
        arrays = [part for pair in self.layers for part in pair]
        return dict(zip(self.form.shapes, arrays, strict=True))


def firmware_network(
    number: int, expert: ExpertWeights, act: str | None = None
) -> FirmwareNetwork:
    """Bring an expert into a chain of linear layers with one activation.

    Parameters
    ----------
    number : int
        Of the expert, for messages.
    expert : ExpertWeights
        Of any model.
    act : str, optional
        ``"tanh/2"`` or ``"tanh"``: the activation that the target has; default: that
        of the chain that the expert serves.

    Raises
    ------
    ExportError
        It has another activation, or a layer without one.

    Notes
    -----
    Batch normalisation in evaluation is ``g * (a - mean) / sqrt(var + eps) + b`` of
    each sum ``a``, so it scales the weights and moves the bias. Doubling is exact.
    """
    act = ACTIVATION_OF_CHAIN[expert.chain] if act is None else act
    found = expert.form.activation
    changes: list[str] = []
    if found not in STEEPNESS:
        raise ExportError(
            f"expert {number}: the firmware has tanh after each layer, found {found}; "
            "train with act tanh/2 or tanh"
        )
    folded = _folded(number, expert, changes)
    factor = STEEPNESS[found] / STEEPNESS[act]
    if factor != 1:
        changes.append(f"weights times {factor:g}: {found} became {act}")
    form = replace(expert.form, model=PLAIN_MODEL, activation=act)
    layers = tuple(
        ((w * factor).astype(np.float32), (b * factor).astype(np.float32))
        for w, b in folded
    )
    return FirmwareNetwork(form, layers, tuple(changes))


def _folded(
    number: int, expert: ExpertWeights, changes: list[str]
) -> list[tuple[F64, F64]]:
    """Linear layers in float64, batch normalisation folded in."""
    layers: list[tuple[F64, F64]] = []
    if expert.form.layers[-1].kind != "activation":
        raise ExportError(
            f"expert {number}: the firmware has tanh after each layer, "
            f"{expert.form.model} has a layer without; train BaselineModel or "
            "BaselineModelBN"
        )
    for layer in expert.form.layers:
        arrays = [expert.state[name].astype(np.float64) for name in layer.shapes]
        if layer.kind == "linear":
            weight, bias = arrays
            layers.append((weight, bias))
        elif layer.kind == "normalisation":
            gain, offset, mean, variance, _ = arrays
            scale = gain / np.sqrt(variance + NORMALISATION_EPSILON)
            weight, bias = layers[-1]
            layers[-1] = weight * scale[:, None], (bias - mean) * scale + offset
            changes.append(
                f"batch normalisation net.{layer.number} folded into the layer before"
            )
    return layers
