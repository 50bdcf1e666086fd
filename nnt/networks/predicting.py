"""Trained experts that predict the rows of a table, in float32."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from nnt.detector import N_SUPERLAYERS, theta_to_deg, z_to_cm
from nnt.errors import DataError
from nnt.networks.form import NORMALISATION_EPSILON, Form, State
from nnt.networks.weights import DEFAULT_PRECISION, ExpertWeights
from nnt.objective import LEAK, SELU_ALPHA, SELU_SCALE
from nnt.tracks import Tracks
from nnt.types import F32, I64

CHUNK = 1 << 12
"""Rows at a time: their nodes stay in the cache."""

BLOCK = 64
SMALL_PRODUCT = 1 << 18
"""Multiplications for which BLAS starts no threads, which would cost more than they
gain here. In blocks, the bits of a row do not depend on the rows around it either."""

COLUMNS: Mapping[str, Mapping[str, Callable[[F32], F32]]] = {
    "z": {"z_cm": z_to_cm, "z_scaled": np.asarray},
    "theta": {"theta_deg": theta_to_deg, "theta_scaled": np.asarray},
    "nnt": {"nnt": np.asarray},
    "stt": {"stt": np.asarray},
}
"""Output -> columns of a table for people, and what makes them of the scaled one."""

ACTIVATION_FUNCTIONS: Mapping[str, Callable[[F32], Any]] = {
    "tanh": np.tanh,
    "tanh/2": lambda x: np.tanh(x / 2),
    "softsign": lambda x: x / (1 + np.abs(x)),
    "relu": lambda x: np.maximum(x, 0),
    "sigmoid": lambda x: np.tanh(x / 2) / 2 + 0.5,
    "leaky_relu": lambda x: np.where(x < 0, LEAK * x, x),
    "selu": lambda x: (
        SELU_SCALE * np.where(x < 0, SELU_ALPHA * np.expm1(np.minimum(x, 0)), x)
    ),
}
"""What computes each of `nnt.networks.form.ACTIVATIONS`."""


@np.errstate(over="ignore", invalid="ignore")
def outputs_of(form: Form, state: State, inputs: F32) -> F32:
    """Map (N, inputs) scaled inputs to (N, outputs) scaled outputs."""
    nodes: F32 = np.zeros((-(-len(inputs) // BLOCK) * BLOCK, form.inputs), np.float32)
    nodes[: len(inputs)] = inputs
    for layer in form.layers:
        arrays = [state[name] for name in layer.shapes]
        if layer.kind == "linear":
            weight, bias = arrays
            rows = 1 << (SMALL_PRODUCT // weight.size).bit_length() >> 1
            blocks = nodes.reshape(-1, min(max(rows, 8), BLOCK), layer.inputs)
            nodes = (blocks @ weight.T + bias).reshape(-1, layer.outputs)
        elif layer.kind == "normalisation":
            gain, offset, mean, variance, _ = arrays
            scale = gain / np.sqrt(variance + NORMALISATION_EPSILON)
            nodes = (nodes - mean) * scale + offset
        else:
            nodes = ACTIVATION_FUNCTIONS[form.activation](nodes)
    return nodes[: len(inputs)]


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
        kinds = {
            k: (weights.form.inputs, weights.form.outputs, weights.chain)
            for k, weights in self.experts.items()
        }
        if len(set(kinds.values())) > 1:
            shown = "; ".join(
                f"expert {k}: {n_inputs} inputs, outputs {', '.join(outputs)}"
                for k, (n_inputs, outputs, _) in sorted(kinds.items())
            )
            raise DataError(f"experts differ in their inputs or outputs: {shown}")
        self.inputs, self.outputs, self.chain = next(iter(kinds.values()))

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
        """Predict every row: (N, outputs) scaled, in the order of `outputs`.

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
        for k, rows in self.rows_of_experts(expert):
            weights = self.experts[k]
            output[rows] = outputs_of(weights.form, weights.state, inputs[rows])
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
        columns = output_columns(self.outputs, self.predict(tracks))
        return columns["z_cm"], columns.get("theta_deg")


def columns_of(outputs: Sequence[str]) -> list[str]:
    """Names of the columns in which outputs are shown to people."""
    return [column for name in outputs for column in COLUMNS[name]]


def output_columns(outputs: Sequence[str], scaled: F32) -> dict[str, F32]:
    """Show outputs, scaled (N, outputs), to people: in physical units and scaled."""
    return {
        column: convert(scaled[:, i])
        for i, name in enumerate(outputs)
        for column, convert in COLUMNS[name].items()
    }
