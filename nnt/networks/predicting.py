"""Networks as PyTorch modules, and trained experts that predict the rows of a table."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from nnt.detector import N_SUPERLAYERS, theta_to_deg, z_to_cm
from nnt.errors import DataError
from nnt.networks.form import NORMALISATION_EPSILON, Form, Layer, State
from nnt.networks.weights import DEFAULT_PRECISION, ExpertWeights
from nnt.tracks import Tracks
from nnt.types import F32, I64

__all__ = [
    "ACTIVATION_MODULES",
    "PLACE",
    "Network",
    "Networks",
    "TanhHalf",
    "build_module",
    "columns_of",
    "load_state",
    "output_columns",
]


CHUNK = 1 << 16


def _as_it_is(scaled: F32) -> F32:
    return scaled


COLUMNS: Mapping[str, Mapping[str, Callable[[F32], F32]]] = {
    "z": {"z_cm": z_to_cm, "z_scaled": _as_it_is},
    "theta": {"theta_deg": theta_to_deg, "theta_scaled": _as_it_is},
    "nnt": {"nnt": _as_it_is},
    "stt": {"stt": _as_it_is},
}
"""Output -> columns of a table for people, and what makes them of the scaled one."""


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


class Networks:
    """The experts of a run; rows go to the expert that serves them.

    Parameters
    ----------
    experts : mapping of int to ExpertWeights
        By number; -1 serves all rows that have no expert of their own.

    Raises
    ------
    DataError
        There is no expert, or they differ in their inputs or outputs.
    """

    def __init__(self, experts: Mapping[int, ExpertWeights]) -> None:
        if not experts:
            raise DataError("expected at least one expert, found none")
        self.experts = dict(experts)
        forms = {k: weights.form for k, weights in self.experts.items()}
        kinds = {k: (form.inputs, form.outputs) for k, form in forms.items()}
        chains = {weights.chain for weights in self.experts.values()}
        if len(set(kinds.values())) > 1 or len(chains) > 1:
            shown = "; ".join(
                f"expert {k}: {n_inputs} inputs, outputs {', '.join(outputs)}"
                for k, (n_inputs, outputs) in sorted(kinds.items())
            )
            raise DataError(f"experts differ in their inputs or outputs: {shown}")
        self.inputs, self.outputs = next(iter(kinds.values()))
        self.chain = chains.pop()
        self._modules = {
            k: build_module(weights.form, weights.state).eval()
            for k, weights in self.experts.items()
        }

    @property
    def precision(self) -> tuple[int, ...]:
        """Fractional bits for which the experts were trained, else the default.

        Raises
        ------
        DataError
            The experts were trained for different ones.
        """
        found = {
            weights.precision or DEFAULT_PRECISION for weights in self.experts.values()
        }
        if len(found) > 1:
            shown = " and ".join(str(list(bits)) for bits in sorted(found))
            raise DataError(
                f"experts were trained for precisions {shown}; the firmware has one "
                "for all: give it with --precision"
            )
        return found.pop()

    def predict(self, tracks: Tracks) -> F32:
        """Predict every row.

        Returns
        -------
        float32 array, shape (N, outputs)
            Scaled, in the order of `outputs`.

        Raises
        ------
        DataError
            Rows belong to an expert that is not there, or as of `inputs_of`.
        """
        return self.predict_inputs(self.inputs_of(tracks), tracks.expert)

    def inputs_of(self, tracks: Tracks) -> F32:
        """Inputs of the networks, shape (N, inputs).

        Of rows with hit patterns, networks without take the others.

        Raises
        ------
        DataError
            The rows are of another chain, or have fewer inputs.
        """
        found = tracks.inputs.shape[1]
        if tracks.chain.name != self.chain:
            raise DataError(
                f"networks of the {self.chain} chain cannot predict tracks of the "
                f"{tracks.chain.name} chain, whose inputs are others; give tracks of "
                "their chain"
            )
        if found == self.inputs:
            return tracks.inputs
        if found < self.inputs:
            raise DataError(
                f"networks of {self.inputs} inputs cannot predict tracks with {found}; "
                f"name the run with more inputs, or files with hit patterns, first"
            )
        width = self.inputs // N_SUPERLAYERS
        parts = tracks.inputs_by_superlayer[:, :, :width]
        return np.ascontiguousarray(parts).reshape(len(tracks), self.inputs)

    def predict_inputs(self, inputs: F32, expert: I64) -> F32:
        """Predict rows of (N, inputs), each by the expert given for it."""
        if inputs.shape != (len(expert), self.inputs):
            raise DataError(
                f"inputs: expected shape ({len(expert)}, {self.inputs}), one row per "
                f"expert number, found {inputs.shape}"
            )
        output = np.zeros((len(inputs), len(self.outputs)), dtype=np.float32)
        with torch.inference_mode():
            for k, rows in self.rows_of_experts(expert):
                x = torch.from_numpy(np.ascontiguousarray(inputs[rows]))
                output[rows] = self._modules[k](x).numpy()
        return output

    def rows_of_experts(self, expert: I64) -> Iterator[tuple[int, I64]]:
        """Give the rows that each expert serves, in chunks that fit the cache.

        Raises
        ------
        DataError
            Rows belong to an expert that is not there.
        """
        missing = sorted(set(np.unique(expert).tolist()) - self.experts.keys())
        if missing and -1 not in self.experts:
            raise DataError(
                f"rows of expert {missing[0]} cannot be predicted: the run holds "
                f"experts {sorted(self.experts)}; train that expert or leave its "
                "rows out"
            )
        for k in self.experts:
            served = np.isin(expert, [*missing, -1]) if k == -1 else expert == k
            rows = np.flatnonzero(served)
            for start in range(0, len(rows), CHUNK):
                yield k, rows[start : start + CHUNK]

    def predict_physical(self, tracks: Tracks) -> tuple[F32, F32 | None]:
        """Predict z in cm and theta in degrees (None for networks without theta).

        Raises
        ------
        DataError
            The networks do not predict z, or rows belong to an expert that is not
            there.
        """
        if "z" not in self.outputs:
            raise DataError(
                f"the networks predict {', '.join(self.outputs)}, not z; use predict"
            )
        named = dict(zip(self.outputs, self.predict(tracks).T, strict=True))
        theta_deg = theta_to_deg(named["theta"]) if "theta" in named else None
        return z_to_cm(named["z"]), theta_deg


def columns_of(outputs: Sequence[str]) -> list[str]:
    """Names of the columns in which outputs are shown to people."""
    return [column for name in outputs for column in COLUMNS[name]]


def output_columns(outputs: Sequence[str], scaled: F32) -> dict[str, F32]:
    """Show outputs to people, in physical units and scaled.

    Parameters
    ----------
    outputs : sequence of str
        Names of the outputs.
    scaled : float32 array, shape (N, outputs)

    Returns
    -------
    dict of float32 arrays, shape (N,)
        By the names of `columns_of`.
    """
    return {
        column: convert(scaled[:, i])
        for i, name in enumerate(outputs)
        for column, convert in COLUMNS[name].items()
    }
