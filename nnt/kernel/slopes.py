"""Activations and losses of a tile of rows, with their slopes, in compiled loops.

Losses are those of `nnt.objective`; activations work on flat arrays.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

from nnt.kernel.lanes import HALF, IN_ORDER, ONE, OPTIONS, TWO, ZERO, quotient
from nnt.objective import KINDS, Objective

ACTIVATION_CODES = {
    "tanh": 0,
    "tanh/2": 1,
    "softsign": 2,
    "relu": 3,
    "sigmoid": 4,
    "leaky_relu": 5,
    "selu": 6,
}

SQUARED, ABSOLUTE, HUBER, LOGISTIC = range(len(KINDS))
COLUMN = np.dtype([("kind", np.int64), ("factor", np.float64)])

_F = np.float32
# tanh(x) = x P(x^2) / Q(x^2): minimax fit on [-9, 9], relative error 2e-8.
SQUARE_END = _F(81)
P0, P1, P2 = _F(0.9999999794811942), _F(0.13381020931293758), _F(0.0034955826030734485)
P3, P4 = _F(2.060899528733086e-05), _F(1.3354549303535034e-08)
Q1, Q2 = _F(0.4671433653026628), _F(0.0258769609845691)
Q3, Q4 = _F(0.00032856259415669494), _F(7.776510562682434e-07)
LEAK = _F(0.01)
SELU_SCALE = _F(1.0507009873554804934193349852946)
SELU_LOW = _F(1.0507009873554804934193349852946 * 1.6732632423543772848170429916717)
# log(1 + exp(-x)) = 2 artanh((1 - t) / (3 + t)) with t = tanh(x / 2), for x >= 0;
# the series of artanh up to (1/3)^15, relative error 1e-8.
A1, A3, A5, A7 = _F(2), _F(2 / 3), _F(2 / 5), _F(2 / 7)
A9, A11, A13 = _F(2 / 9), _F(2 / 11), _F(2 / 13)
THREE = _F(3)


@njit(inline="always", **OPTIONS)
def tanh(x):
    """Hyperbolic tangent of a float32, exact to rounding."""
    u = x * x
    u = SQUARE_END if u > SQUARE_END else u  # beyond it, t grows out of [-1, 1]
    p = x * ((((P4 * u + P3) * u + P2) * u + P1) * u + P0)
    t = quotient(p, (((Q4 * u + Q3) * u + Q2) * u + Q1) * u + ONE)
    t = ONE if t > ONE else t
    return -ONE if t < -ONE else t


@njit(**OPTIONS)
def activate(code, a):
    """Replace the flat array by its activation."""
    n = a.size
    if code == 0:
        for k in range(n):
            a[k] = tanh(a[k])
    elif code == 1:
        for k in range(n):
            a[k] = tanh(HALF * a[k])
    elif code == 2:
        for k in range(n):
            a[k] = a[k] / (ONE + abs(a[k]))
    elif code == 3:
        for k in range(n):
            a[k] = ZERO if a[k] < ZERO else a[k]
    elif code == 4:
        for k in range(n):
            a[k] = HALF + HALF * tanh(HALF * a[k])
    elif code == 5:
        for k in range(n):
            a[k] = LEAK * a[k] if a[k] < ZERO else a[k]
    else:
        for k in range(n):
            # exp(x) - 1 = 2 t / (1 - t) with t = tanh(x / 2), exact near zero
            low = ZERO if a[k] > ZERO else a[k]
            t = tanh(HALF * low)
            low = quotient(SELU_LOW * TWO * t, ONE - t)
            a[k] = SELU_SCALE * a[k] if a[k] > ZERO else low


@njit(**OPTIONS)
def times_slope(code, a, d):
    """Multiply `d` by the slope of the activation, found from its value `a`."""
    n = a.size
    if code == 0:
        for k in range(n):
            d[k] *= ONE - a[k] * a[k]
    elif code == 1:
        for k in range(n):
            d[k] *= HALF * (ONE - a[k] * a[k])
    elif code == 2:
        for k in range(n):
            d[k] *= (ONE - abs(a[k])) * (ONE - abs(a[k]))
    elif code == 3:
        for k in range(n):
            d[k] *= ONE if a[k] > ZERO else ZERO
    elif code == 4:
        for k in range(n):
            d[k] *= a[k] * (ONE - a[k])
    elif code == 5:
        for k in range(n):
            d[k] *= ONE if a[k] > ZERO else LEAK
    else:
        for k in range(n):
            d[k] *= SELU_SCALE if a[k] > ZERO else a[k] + SELU_LOW


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
