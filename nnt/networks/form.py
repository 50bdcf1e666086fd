"""A network as data: its inputs, layers and outputs, without PyTorch.

Everything else follows from a `Form`: the PyTorch module, the names and shapes in
``weights.json``, the first weights, what the firmware holds, the ONNX graph.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np

from nnt.detector import N_HIDDEN, N_INPUTS
from nnt.errors import ConfigError, did_you_mean, shorten
from nnt.types import F32

State = dict[str, F32]
"""Weights by the names of the network's state dict, such as ``net.0.weight``."""

OUTPUTS = ("z", "theta", "nnt", "stt")
"""Everything that a network may predict, in the order of its output nodes."""

ACTIVATIONS = ("tanh", "tanh/2", "softsign", "relu", "sigmoid", "leaky_relu", "selu")

PLAIN_MODEL = "BaselineModel"
"""Linear layers with an activation after each, the last one too."""

FIXED_HIDDEN: Mapping[str, tuple[int, ...]] = {
    "BaselineModelBN": (N_HIDDEN,),
    "SimpleModel": (50, 100, 50, 10),
}
"""Models with batch normalisation, and the widths of their hidden layers."""

MODELS = (PLAIN_MODEL, *FIXED_HIDDEN)

MAX_NODES = 4096
"""Most nodes of a layer: a network is made in memory to hold them."""

NORMALISATION_EPSILON = 1e-5
"""What batch normalisation adds to a variance, as PyTorch does by default."""

Kind = Literal["linear", "normalisation", "activation"]


@dataclass(frozen=True, slots=True)
class Layer:
    """One step of a network, under the number that PyTorch's Sequential gives it."""

    number: int
    kind: Kind
    inputs: int
    outputs: int

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Names and shapes of its weights; none for an activation."""
        name, width = f"net.{self.number}", (self.outputs,)
        if self.kind == "linear":
            matrix = (self.outputs, self.inputs)
            return {f"{name}.weight": matrix, f"{name}.bias": width}
        if self.kind == "activation":
            return {}
        parts = ("weight", "bias", "running_mean", "running_var")
        counted: dict[str, tuple[int, ...]] = {f"{name}.num_batches_tracked": ()}
        return {f"{name}.{part}": width for part in parts} | counted


@dataclass(frozen=True)
class Form:
    """What a network is, apart from the values of its weights.

    Parameters
    ----------
    inputs : int
        Numbers that it takes: 27, or 126 in the 3D Hough chain.
    hidden : tuple of int
        Nodes of the hidden layers; empty for none. The models with batch
        normalisation have fixed widths, which the default stands for.
    outputs : tuple of str
        Names out of `OUTPUTS`, in that order.
    activation : str
        One of `ACTIVATIONS`.
    model : str
        One of `MODELS`.

    Raises
    ------
    ConfigError
        There is no such network.

    Examples
    --------
    >>> Form(hidden=(64, 64), outputs=("z", "theta", "nnt")).nodes
    (27, 64, 64, 3)
    >>> str(Form())
    '27-81-2 with tanh/2'
    """

    inputs: int = N_INPUTS
    hidden: tuple[int, ...] = (N_HIDDEN,)
    outputs: tuple[str, ...] = ("z", "theta")
    activation: str = "tanh/2"
    model: str = PLAIN_MODEL

    def __post_init__(self) -> None:
        for key, name, known in (
            ("model", self.model, MODELS),
            ("act", self.activation, ACTIVATIONS),
        ):
            if name not in known:
                near = did_you_mean(name, known)
                raise ConfigError(f"{key}: unknown {shorten(name)}; {near}")
        known = tuple(name for name in OUTPUTS if name in self.outputs)
        if not known or known != self.outputs:
            raise ConfigError(
                f"outputs: expected names out of {', '.join(OUTPUTS)}, in this order, "
                f"found {shorten(self.outputs)}"
            )
        fixed = FIXED_HIDDEN.get(self.model, self.hidden)
        if self.hidden not in (fixed, (N_HIDDEN,)):
            raise ConfigError(
                f"hidden: {self.model} has layers of {list(fixed)} nodes, found "
                f"{list(self.hidden)}; leave hidden out, or choose {PLAIN_MODEL}"
            )
        object.__setattr__(self, "hidden", fixed)
        for width in (self.inputs, *self.hidden):
            if not 1 <= width <= MAX_NODES:
                raise ConfigError(
                    f"layers: expected 1 to {MAX_NODES} nodes, found {shorten(width)}"
                )

    def __str__(self) -> str:
        named = "" if self.is_plain else f"{self.model} "
        return f"{named}{'-'.join(map(str, self.nodes))} with {self.activation}"

    @property
    def is_plain(self) -> bool:
        """Whether it is linear, activation, linear, activation, ..., throughout."""
        return self.model == PLAIN_MODEL

    @property
    def nodes(self) -> tuple[int, ...]:
        """Nodes from the inputs to the outputs."""
        return (self.inputs, *self.hidden, len(self.outputs))

    @cached_property
    def layers(self) -> tuple[Layer, ...]:
        """Every step, numbered from 0."""
        steps: list[tuple[Kind, int, int]] = []
        n_linear = len(self.nodes) - 1
        for i, (n_in, n_out) in enumerate(itertools.pairwise(self.nodes)):
            is_last = i == n_linear - 1
            steps.append(("linear", n_in, n_out))
            if not self.is_plain and not is_last:
                steps.append(("normalisation", n_out, n_out))
            if not (is_last and self.model == "SimpleModel"):
                steps.append(("activation", n_out, n_out))
        return tuple(Layer(i, *step) for i, step in enumerate(steps))

    @cached_property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Names and shapes of all weights, in the order of the layers."""
        return {
            name: shape for layer in self.layers for name, shape in layer.shapes.items()
        }

    @classmethod
    def of_shapes(
        cls,
        shapes: Mapping[str, Sequence[int]],
        *,
        outputs: Sequence[str] | None = None,
        activation: str = "tanh/2",
        model: str = PLAIN_MODEL,
    ) -> Form:
        """Derive the form of a network from the shapes of its weights, by name.

        The outputs are the first of `OUTPUTS` where no names are given.

        Raises
        ------
        ConfigError
            There is no such network.
        """
        # net.2 before net.10, in whatever order the file names them.
        names = sorted(shapes, key=lambda name: (len(name), name))
        matrices = [shapes[name] for name in names if len(shapes[name]) == 2]
        if not matrices:
            raise ConfigError("weights: expected at least one matrix, found none")
        *hidden, n_outputs = [n_out for n_out, _ in matrices]
        outputs = OUTPUTS[:n_outputs] if outputs is None else outputs
        if len(outputs) != n_outputs:
            raise ConfigError(
                f"outputs: expected as many names as output nodes, {n_outputs}, found "
                f"{shorten(list(outputs))}"
            )
        return cls(
            inputs=matrices[0][1],
            hidden=tuple(hidden),
            outputs=tuple(outputs),
            activation=activation,
            model=model,
        )


def initial_state(form: Form, generator: np.random.Generator) -> State:
    """Draw the first weights of a network, layer by layer.

    Linear layers: U(-1/sqrt(n), 1/sqrt(n)) with n inputs, as `torch.nn.Linear` does.
    Batch normalisation begins as the identity.
    """
    state: State = {}
    for layer in form.layers:
        bound = 1 / math.sqrt(layer.inputs)
        for name, shape in layer.shapes.items():
            if layer.kind == "linear":
                drawn = generator.uniform(-bound, bound, shape)
            else:
                drawn = np.full(shape, name.endswith((".weight", ".running_var")))
            state[name] = drawn.astype(np.float32)
    return state
