"""A stand-in for the network that runs in the trigger: the reference columns.

Nobody outside the collaboration has the weights of that network, and the truth must
not stand in for it. So each expert gets a network of the firmware's size, whose first
layer is drawn at random and whose second one is a least-squares fit to simulated
tracks of a random stream of its own. It knows no more of a track than the 27 inputs.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nnt.detector import EXPERTS, N_HIDDEN, N_INPUTS, N_TARGETS
from nnt.types import F32, F64, I64

RAW_PER_UNIT = 4096
"""The hardware's outputs are whole numbers of this part of the range."""
FIRST_LAYER_SEED = 81
RIDGE = 1e-4
"""Of the rows, on the diagonal: keeps the fit of few rows from wild weights."""
BLOCK = 96
"""Rows at a time: their hidden nodes stay in the processor's cache, and a product this
small is done at once, without the threads of the linear algebra library."""
DIGITS = 6
"""Of the fitted weights, so that another order of sums gives the same ones."""


@dataclass(frozen=True, slots=True, eq=False)
class StandIn:
    """Five networks with a common first layer."""

    first: F32
    """Shape (28, 81): weights by input, and the bias last."""
    second: F64
    """Shape (5, 109, 2): weights by expert, of hidden nodes, inputs and bias."""

    def predict(self, inputs: F32, expert: I64) -> I64:
        """Outputs as the hardware's whole numbers, shape (N, 2)."""
        raw = np.zeros((len(inputs), N_TARGETS), dtype=np.int64)
        for number in EXPERTS:
            mine = np.flatnonzero(expert == number)
            second = self.second[number].astype(np.float32)
            for start in range(0, len(mine), BLOCK):
                rows = mine[start : start + BLOCK]
                output = _features(inputs[rows], self.first) @ second
                output *= RAW_PER_UNIT
                np.clip(output, -RAW_PER_UNIT, RAW_PER_UNIT - 1, out=output)
                raw[rows] = np.rint(output)
        return raw


def fit_stand_in(inputs: F32, targets: F32, expert: I64) -> StandIn:
    """Fit the second layer of each expert; one without rows answers 0."""
    rng = np.random.default_rng(FIRST_LAYER_SEED)
    first = rng.standard_normal((N_INPUTS + 1, N_HIDDEN), dtype=np.float32)
    second = np.zeros((len(EXPERTS), N_HIDDEN + N_INPUTS + 1, N_TARGETS))
    for number in EXPERTS:
        rows = expert == number
        features = _features(inputs[rows], first).astype(np.float64)
        square = features.T @ features + RIDGE * len(features) * np.eye(second.shape[1])
        if rows.any():
            fitted = np.linalg.solve(square, features.T @ targets[rows])
            second[number] = np.round(fitted, DIGITS)
    return StandIn(first=first, second=second)


def _features(inputs: F32, first: F32) -> F32:
    """Hidden nodes, the inputs themselves, and 1: shape (N, 109)."""
    features = np.ones((len(inputs), N_HIDDEN + N_INPUTS + 1), dtype=np.float32)
    features[:, N_HIDDEN:-1] = inputs
    nodes = features[:, N_HIDDEN:] @ first
    features[:, :N_HIDDEN] = nodes / (1 + np.abs(nodes))
    return features
