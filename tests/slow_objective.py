"""Plain references of activations and of the gradient of a loss, for tests."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from nnt.objective import (
    ABSOLUTE,
    CUT_START,
    HUBER,
    LEAK,
    SELU_ALPHA,
    SELU_SCALE,
    SQUARED,
    Objective,
    factors_of_rows,
)
from nnt.types import F64, FloatArray


def activate(activation: str, pre: FloatArray) -> FloatArray:
    """Output of an activation, by its name in the configuration."""
    low, high = np.minimum(pre, 0), np.maximum(pre, 0)
    by_name: dict[str, Callable[[], FloatArray]] = {
        "tanh": lambda: np.tanh(pre),
        "tanh/2": lambda: np.tanh(pre / 2),
        "softsign": lambda: pre / (1 + np.abs(pre)),
        "relu": lambda: high,
        "sigmoid": lambda: (1 + np.tanh(pre / 2)) / 2,
        "leaky_relu": lambda: high + LEAK * low,
        "selu": lambda: SELU_SCALE * (high + SELU_ALPHA * np.expm1(low)),
    }
    return by_name[activation]()


def slope_of(activation: str, output: FloatArray) -> FloatArray:
    """Slope of an activation, by its output."""
    by_name: dict[str, Callable[[], FloatArray]] = {
        "tanh": lambda: 1 - output**2,
        "tanh/2": lambda: (1 - output**2) / 2,
        "softsign": lambda: (1 - np.abs(output)) ** 2,
        "relu": lambda: np.where(output > 0, 1.0, 0.0),
        "sigmoid": lambda: output * (1 - output),
        "leaky_relu": lambda: np.where(output > 0, 1.0, LEAK),
        "selu": lambda: np.where(
            output > 0, SELU_SCALE, output + SELU_SCALE * SELU_ALPHA
        ),
    }
    return by_name[activation]()


def _cross_entropy_slope(logits: F64, targets: F64) -> F64:
    slope: F64 = (np.tanh(logits / 2) - targets) / 2
    return slope


def _counted(values: F64, factors: F64) -> F64:
    """Multiply; what does not count may be anything, even not a number."""
    return np.multiply(values, factors, where=factors != 0, out=np.zeros(values.shape))


def gradient(
    objective: Objective,
    pre: FloatArray,
    targets: FloatArray,
    weights: FloatArray | None = None,
    cut: tuple[float, float] = CUT_START,
) -> tuple[F64, F64]:
    """Gradient of `value` by the pre-activations, and by b and c of a decision.

    Parameters
    ----------
    pre : float array, shape (N, O)
        Of the last layer, before its activation.

    Others as in `value`.

    Returns
    -------
    float64 array, shape (N, O), and float64 array, shape (2,)
    """
    a, t = np.asarray(pre, np.float64), np.asarray(targets, np.float64)
    y = np.asarray(activate(objective.activation, a), np.float64)
    factors = factors_of_rows(objective, weights, t.shape)
    slopes = np.empty(a.shape)
    by_output = slope_of(objective.activation, y)
    for c, column in enumerate(objective.columns):
        e = y[:, c] - t[:, c]
        if column.kind == SQUARED:
            slopes[:, c] = 2 * e * by_output[:, c]
        elif column.kind == ABSOLUTE:
            slopes[:, c] = np.sign(e) * by_output[:, c]
        elif column.kind == HUBER:
            slopes[:, c] = np.clip(e, -1, 1) * by_output[:, c]
        else:
            k = objective.steepness
            slopes[:, c] = k * _cross_entropy_slope(k * a[:, c], t[:, c])
    slopes = _counted(slopes, factors[:, : a.shape[1]])
    by_cut = np.zeros(2)
    if objective.decision is not None:
        found = np.exp(cut[0]) * (cut[1] - np.abs(y[:, objective.z_column]))
        d = _counted(_cross_entropy_slope(found, t[:, -1]), factors[:, -1])
        z, steepness = objective.z_column, np.exp(cut[0])
        slopes[:, z] -= d * steepness * np.sign(y[:, z]) * by_output[:, z]
        by_cut[:] = np.sum(d * found), np.sum(d) * steepness
    return slopes, by_cut
