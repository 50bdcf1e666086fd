"""Trained networks in the form that the firmware holds, or the reason why not.

The firmware knows linear layers with a tanh after each. Batch normalisation is
folded into the linear layer before it, and a network with tanh(x) becomes one with
tanh(x / 2) by doubling its weights and biases.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from nnt.detector import CHAINS
from nnt.errors import ExportError
from nnt.networks.form import NORMALISATION_EPSILON, PLAIN_MODEL
from nnt.networks.weights import ExpertWeights
from nnt.types import F32, F64

STEEPNESS = {"tanh": 1.0, "tanh/2": 0.5}
"""Factor on the argument of the tanh, by activation."""


@dataclass(frozen=True, slots=True, eq=False)
class FirmwareNetwork(ExpertWeights):
    """Linear layers with the same activation, a tanh of its chain, after each."""

    changes: tuple[str, ...] = ()
    """What was done to the trained network, for people; empty if nothing."""

    @property
    def layers(self) -> list[tuple[F32, F32]]:
        """Weights (out, in) and biases (out,) of each layer."""
        arrays = [self.state[name] for name in self.form.shapes]
        return list(zip(arrays[::2], arrays[1::2], strict=True))

    @property
    def largest_weight(self) -> float:
        """Largest magnitude of all weights and biases."""
        return max(float(np.abs(value).max()) for value in self.state.values())


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
    act = act or CHAINS[expert.chain].activation
    found, changes = expert.form.activation, []
    if found not in STEEPNESS:
        raise ExportError(
            f"expert {number}: the firmware has tanh after each layer, found {found}; "
            "train with act tanh/2 or tanh"
        )
    if expert.form.layers[-1].kind != "activation":
        raise ExportError(
            f"expert {number}: the firmware has tanh after each layer, "
            f"{expert.form.model} has a layer without; train BaselineModel or "
            "BaselineModelBN"
        )
    parts: list[F64] = []
    for layer in expert.form.layers:
        arrays = [expert.state[name].astype(np.float64) for name in layer.shapes]
        if layer.kind == "linear":
            parts += arrays
        elif layer.kind == "normalisation":
            gain, offset, mean, variance, _ = arrays
            scale = gain / np.sqrt(variance + NORMALISATION_EPSILON)
            weight, bias = parts[-2:]
            parts[-2:] = weight * scale[:, None], (bias - mean) * scale + offset
            changes.append(
                f"batch normalisation net.{layer.number} folded into the layer before"
            )
    factor = STEEPNESS[found] / STEEPNESS[act]
    if factor != 1:
        changes.append(f"weights times {factor:g}: {found} became {act}")
    form = replace(expert.form, model=PLAIN_MODEL, activation=act)
    values = [(part * factor).astype(np.float32) for part in parts]
    state = dict(zip(form.shapes, values, strict=True))
    return FirmwareNetwork(
        state, form, expert.precision, expert.chain, changes=tuple(changes)
    )
