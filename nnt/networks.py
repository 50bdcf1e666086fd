"""Trained experts that predict the rows of a table."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
import torch
from torch import nn

from nnt.detector import theta_to_deg, z_to_cm
from nnt.errors import DataError
from nnt.firmware import classic_network
from nnt.fixedpoint import (
    DEFAULT_PRECISION,
    check_precision,
    classic,
    hidden_nodes,
    snap_text_inputs,
)
from nnt.models import build_model
from nnt.tracks import Tracks
from nnt.types import F32, I64
from nnt.weights import ExpertWeights

__all__ = ["FixedPointNetworks", "Networks"]


CHUNK = 1 << 16


class Networks:
    """The experts of a run; rows go to the expert that serves them.

    Parameters
    ----------
    experts : mapping of int to ExpertWeights
        By number; -1 serves all rows that have no expert of their own.

    Raises
    ------
    DataError
        Weights do not fit the model that they name.
    """

    def __init__(self, experts: Mapping[int, ExpertWeights]) -> None:
        if not experts:
            raise DataError("expected at least one expert, found none")
        self.experts = dict(experts)
        self._models = {k: _module(k, own) for k, own in self.experts.items()}
        sizes = {_sizes(own) for own in self.experts.values()}
        if len(sizes) != 1:
            raise DataError(
                f"experts differ in their numbers of (inputs, outputs): {sorted(sizes)}"
            )
        self.in_size, self.out_size = sizes.pop()

    @property
    def precision(self) -> tuple[int, ...]:
        """Fractional bits for which the experts were trained, else the default.

        Raises
        ------
        DataError
            The experts were trained for different ones.
        """
        found = {own.precision or DEFAULT_PRECISION for own in self.experts.values()}
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
        float32 array, shape (N, out_size)
            Scaled z and, for out_size 2, theta.

        Raises
        ------
        DataError
            Rows belong to an expert that is not there.
        """
        return self.predict_inputs(tracks.inputs, tracks.expert)

    def predict_inputs(self, inputs: F32, expert: I64) -> F32:
        """Predict rows of 27 inputs, each by the expert given for it."""
        return self.routed(inputs, expert, lambda k, rows: _run(self._models[k], rows))

    def predict_fixed_point(
        self,
        tracks: Tracks,
        precision: Sequence[int] | None = None,
        *,
        saturate_13_bit: bool = False,
    ) -> F32:
        """Predict every row in the integer arithmetic of the firmware.

        Parameters
        ----------
        tracks : Tracks
            Their inputs are snapped to the grid that text files round.
        precision : sequence of 6 int, optional
            Fractional bits, see `nnt.fixedpoint.DEFAULT_PRECISION`; default: those
            for which the experts were trained.
        saturate_13_bit : bool
            Keep outputs in a signed word, as `nnt.fixedpoint.classic` does.

        Returns
        -------
        float32 array, shape (N, out_size)
            Scaled, as of `predict`: integers divided by ``2**precision[3]``.

        Raises
        ------
        ExportError
            The firmware cannot hold the network of an expert.
        DataError
            Rows belong to an expert that is not there, or the precision is none.
        """
        return FixedPointNetworks(
            self, precision, saturate_13_bit=saturate_13_bit
        ).predict(tracks)

    def routed(
        self,
        inputs: F32,
        expert: I64,
        run: Callable[[int, F32], F32],
    ) -> F32:
        """Let a function of expert and inputs run the rows of each expert."""
        self._check_rows(inputs, expert)
        output = np.zeros((len(inputs), self.out_size), dtype=np.float32)
        for k, rows in self.rows_of_experts(expert):
            output[rows] = run(k, inputs[rows])
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

    def _check_rows(self, inputs: F32, expert: I64) -> None:
        if inputs.shape != (len(expert), self.in_size):
            raise DataError(
                f"inputs: expected shape ({len(expert)}, {self.in_size}), one row per "
                f"expert number, found {inputs.shape}"
            )

    def predict_physical(self, tracks: Tracks) -> tuple[F32, F32 | None]:
        """Predict z in cm and theta in degrees (None for networks of z only)."""
        output = self.predict(tracks)
        z_cm: F32 = z_to_cm(output[:, 0])
        if self.out_size == 1:
            return z_cm, None
        theta_deg: F32 = theta_to_deg(output[:, 1])
        return z_cm, theta_deg


class FixedPointNetworks:
    """The experts of a run as the firmware computes them.

    Parameters
    ----------
    networks : Networks
        Of the classic shape.
    precision : sequence of 6 int, optional
        Fractional bits, see `nnt.fixedpoint.DEFAULT_PRECISION`; default: those for
        which the experts were trained.
    saturate_13_bit : bool
        Keep outputs in a signed word, as `nnt.fixedpoint.classic` does.

    Raises
    ------
    ExportError
        The firmware cannot hold the network of an expert.
    DataError
        The precision is none.
    """

    def __init__(
        self,
        networks: Networks,
        precision: Sequence[int] | None = None,
        *,
        saturate_13_bit: bool = False,
    ) -> None:
        bits = networks.precision if precision is None else precision
        self.precision = check_precision(bits)
        self.saturate_13_bit = saturate_13_bit
        self.experts = networks.experts
        self.forms = {k: classic_network(k, own) for k, own in self.experts.items()}
        self._networks = networks

    def predict(self, tracks: Tracks) -> F32:
        """Predict every row; see `Networks.predict_fixed_point`."""
        return self.predict_inputs(tracks.inputs, tracks.expert)

    def predict_inputs(self, inputs: F32, expert: I64) -> F32:
        """Predict rows of 27 inputs, each by the expert given for it."""
        return self._networks.routed(inputs, expert, self._run)

    def _run(self, k: int, rows: F32) -> F32:
        (w1, b1), (w2, b2) = self.forms[k].layers
        integers = classic(
            snap_text_inputs(rows), w1, b1, w2, b2, self.precision,
            saturate_13_bit=self.saturate_13_bit,
        )  # fmt: skip
        scaled: F32 = (integers / 2.0 ** self.precision[3]).astype(np.float32)
        return scaled

    def saturated_hidden_share(self, tracks: Tracks) -> F32:
        """Share of the hidden nodes of each row that the table's end decides.

        Returns
        -------
        float32 array, shape (N,)
        """
        share = np.zeros(len(tracks), dtype=np.float32)
        for k, rows in self._networks.rows_of_experts(tracks.expert):
            w1, b1 = self.forms[k].layers[0]
            inputs = snap_text_inputs(tracks.inputs[rows])
            nodes = hidden_nodes(inputs, w1, b1, self.precision)
            share[rows] = (np.abs(nodes) >= 2 ** self.precision[3]).mean(axis=1)
        return share


def _sizes(expert: ExpertWeights) -> tuple[int, int]:
    # net.2 before net.10, in whatever order the file names them.
    names = sorted(expert.state, key=lambda name: (len(name), name))
    matrices = [expert.state[name] for name in names if expert.state[name].ndim == 2]
    if not matrices:
        raise DataError("weights without a single matrix cannot be a network")
    return matrices[0].shape[1], matrices[-1].shape[0]


def _module(number: int, expert: ExpertWeights) -> nn.Module:
    in_size, out_size = _sizes(expert)
    # BASF2's own files do not name the activation: it is that of the firmware.
    model = build_model(expert.model, in_size, out_size, expert.act or "tanh/2")
    state = {name: torch.from_numpy(value) for name, value in expert.state.items()}
    try:
        model.load_state_dict(state)
    except RuntimeError as err:
        raise DataError(
            f"weights of expert {number} do not fit {expert.model}: "
            f"{str(err).splitlines()[-1].strip()}"
        ) from err
    return model.eval()


def _run(model: nn.Module, inputs: F32) -> F32:
    with torch.inference_mode():
        output: F32 = model(torch.from_numpy(np.ascontiguousarray(inputs))).numpy()
    return output
