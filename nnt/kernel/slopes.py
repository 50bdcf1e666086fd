"""Losses of a tile of rows and their slopes: `nnt.objective` in compiled loops."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

from nnt.kernel.activations import (
    ACTIVATION_CODES,
    HALF,
    IN_ORDER,
    ONE,
    TWO,
    ZERO,
    tanh,
    times_slope,
)
from nnt.objective import KINDS, Objective

SQUARED, ABSOLUTE, HUBER, LOGISTIC = range(len(KINDS))
COLUMN = np.dtype([("kind", np.int64), ("factor", np.float64)])

_F = np.float32
# log(1 + exp(-x)) = 2 artanh((1 - t) / (3 + t)) with t = tanh(x / 2), for x >= 0;
# the series of artanh up to (1/3)^15, relative error 1e-8.
A1, A3, A5, A7 = _F(2), _F(2 / 3), _F(2 / 5), _F(2 / 7)
A9, A11, A13 = _F(2 / 9), _F(2 / 11), _F(2 / 13)
THREE = _F(3)


class Target(NamedTuple):
    """What the loops know of an objective."""

    columns: npt.NDArray[np.void]
    """Kind and factor of each output, `COLUMN`."""
    act: int
    """Code of the activation."""
    steepness: np.float32
    """Of the logit of a class over the pre-activation."""
    logistic: bool
    """Whether any column is of that kind."""
    decision: float
    """Factor of the decision; 0 without one."""
    z: int
    """Column of the output that the decision is made by."""
    cut: int
    """Place of its two learned numbers in the flat arrays."""


def target_of(objective: Objective, cut: int) -> Target:
    """Put an objective into numbers; `cut` is the place of b and c."""
    columns = np.array(
        [(KINDS.index(c.kind), c.factor) for c in objective.columns], COLUMN
    )
    return Target(
        columns,
        ACTIVATION_CODES[objective.activation],
        np.float32(objective.steepness),
        bool((columns["kind"] == LOGISTIC).any()),
        float(objective.decision or 0.0),
        objective.z_column if objective.decision is not None else 0,
        cut,
    )


@njit(**IN_ORDER)
def _entropy(x, t, y):
    """Cross-entropy of the logit x, t its tanh(x / 2), for the target y."""
    size = abs(t)
    a = (ONE - size) / (THREE + size)
    u = a * a
    series = (((((A13 * u + A11) * u + A9) * u + A7) * u + A5) * u + A3) * u + A1
    high = x if x > ZERO else ZERO
    return high + a * series - HALF * (y + ONE) * x


@njit(inline="always", **IN_ORDER)
def _of_residual(kind, e, double, single):
    """Give the slope and the loss of a residual."""
    if kind == SQUARED:
        return e * double, e * e
    size = abs(e)
    if kind == HUBER and size < ONE:
        return e * single, HALF * e * e
    sign = ONE if e > ZERO else (-ONE if e < ZERO else e)
    return sign * single, size - HALF if kind == HUBER else size


@njit(**IN_ORDER)
def by_output(target, y, w, index, out, err):
    """Fill the slopes of residuals by the outputs; return the sum of losses."""
    loss = 0.0
    n_batch, order = index
    for o in range(out.shape[1]):
        kind, factor = target.columns[o].kind, target.columns[o].factor
        double, single = _F(2.0 * factor / n_batch), _F(factor / n_batch)
        part = 0.0
        if kind == LOGISTIC:
            err[:, o] = ZERO
        elif kind == SQUARED and not w.size:
            for t in range(order.size):
                e = out[t, o] - y[order[t], o]
                err[t, o] = e * double
                part += float(e * e)
        else:
            for t in range(order.size):
                k = w[order[t], o] if w.size else ONE
                e = out[t, o] - y[order[t], o] if k != ZERO else ZERO
                slope, of_row = _of_residual(kind, e, double, single)
                err[t, o] = slope * k
                part += float(k * of_row)
        loss += factor * part
    return loss


@njit(**IN_ORDER)
def _by_decision(target, y, w, index, out, err, flats):
    """Add the slopes of the decision by z; return the sum of losses."""
    n_batch, order = index
    p, g = flats
    steepness, cut = np.exp(p[target.cut]), p[target.cut + 1]
    single = _F(target.decision / n_batch)
    last = y.shape[1] - 1
    loss, by_logit, by_product = 0.0, ZERO, ZERO
    for t in range(order.size):
        r = order[t]
        k = w[r, last] if w.size else ONE
        if k != ZERO:
            z = out[t, target.z]
            x = steepness * (cut - abs(z))
            h = tanh(HALF * x)
            loss += float(_entropy(x, h, y[r, last]) * k)
            s = HALF * (h - y[r, last]) * single * k
            sign = ONE if z > ZERO else (-ONE if z < ZERO else z)
            err[t, target.z] -= s * steepness * sign
            by_logit += s
            by_product += s * x
    g[target.cut] += by_product
    g[target.cut + 1] += by_logit * steepness
    return target.decision * loss


@njit(**IN_ORDER)
def _by_logit(target, y, w, index, sums, out, err):
    """Fill the slopes of classes by the pre-activations; return the sum of losses."""
    n_batch, order = index
    loss = 0.0
    # Then the output is tanh of half the logit
    known = (target.act == 0 and target.steepness == TWO) or (
        target.act == 1 and target.steepness == ONE
    )
    for o in range(out.shape[1]):
        if target.columns[o].kind != LOGISTIC:
            continue
        factor = target.columns[o].factor
        single = _F(factor / n_batch) * target.steepness * HALF
        part = 0.0
        for t in range(order.size):
            r = order[t]
            k = w[r, o] if w.size else ONE
            if k != ZERO:
                x = target.steepness * sums[t, o]
                h = out[t, o] if known else tanh(HALF * x)
                part += float(_entropy(x, h, y[r, o]) * k)
                err[t, o] = (h - y[r, o]) * single * k
        loss += factor * part
    return loss


@njit(inline="always", **IN_ORDER)
def slopes_of_loss(target, rows, index, sums, out, err, flats):
    """Fill the slopes of the loss by the sums of the last layer.

    Parameters
    ----------
    target : Target
    rows : tuple
        Targets (N, T) and weights (N, T); without weights, they have no size.
    index : tuple
        Rows of the batch, and which rows are in the tile.
    sums, out, err : (TILE, O) float32
        Before and after the last activation, and the slopes. Only classes need the
        first. Rows of the tile that hold none have a slope of 0.
    flats : tuple
        Weights and gradients, of the two learned numbers of a decision.

    Returns
    -------
    float
        Sum of the losses of the rows, with weights and factors.
    """
    y, w = rows
    for t in range(index[1].size, err.shape[0]):
        err[t] = ZERO
    loss = by_output(target, y, w, index, out, err)
    if target.decision > 0.0:
        loss += _by_decision(target, y, w, index, out, err, flats)
    times_slope(target.act, out.reshape(-1), err.reshape(-1))
    if target.logistic:
        loss += _by_logit(target, y, w, index, sums, out, err)
    return loss
