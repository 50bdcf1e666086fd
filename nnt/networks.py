"""Trained experts that predict the rows of a table."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from nnt.detector import theta_to_deg, z_to_cm
from nnt.errors import DataError
from nnt.models import build_model
from nnt.tracks import Tracks
from nnt.weights import ExpertWeights

__all__ = ["Networks"]

F32 = npt.NDArray[np.float32]

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
        self.experts = dict(experts)
        self._models = {k: _module(k, own) for k, own in self.experts.items()}
        sizes = {_sizes(own)[1] for own in self.experts.values()}
        if len(sizes) != 1:
            raise DataError(f"experts differ in their number of outputs: {sizes}")
        self.out_size = sizes.pop()

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

    def predict_inputs(self, inputs: F32, expert: npt.NDArray[np.int64]) -> F32:
        """Predict rows of 27 inputs, each by the expert given for it."""
        missing = sorted(set(np.unique(expert).tolist()) - self._models.keys())
        if missing and -1 not in self._models:
            raise DataError(
                f"rows of expert {missing[0]} cannot be predicted: the run holds "
                f"experts {sorted(self._models)}; train that expert or leave its "
                "rows out"
            )
        output = np.zeros((len(inputs), self.out_size), dtype=np.float32)
        for k, model in self._models.items():
            served = np.isin(expert, missing) if k == -1 else expert == k
            rows = np.flatnonzero(served)
            for start in range(0, len(rows), CHUNK):
                chunk = rows[start : start + CHUNK]
                output[chunk] = _run(model, inputs[chunk])
        return output

    def predict_physical(self, tracks: Tracks) -> tuple[F32, F32 | None]:
        """Predict z in cm and theta in degrees (None for networks of z only)."""
        output = self.predict(tracks)
        z_cm: F32 = z_to_cm(output[:, 0])
        if self.out_size == 1:
            return z_cm, None
        theta_deg: F32 = theta_to_deg(output[:, 1])
        return z_cm, theta_deg


def _sizes(expert: ExpertWeights) -> tuple[int, int]:
    matrices = [value for value in expert.state.values() if value.ndim == 2]
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
