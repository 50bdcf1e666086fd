"""Activations and their slopes, in compiled loops over flat arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from nnt.kernel.quotients import quotient

ACTIVATION_CODES = {
    "tanh": 0,
    "tanh/2": 1,
    "softsign": 2,
    "relu": 3,
    "sigmoid": 4,
    "leaky_relu": 5,
    "selu": 6,
}

OPTIONS: dict[str, Any] = {
    "error_model": "numpy",
    "fastmath": {"reassoc", "contract", "nsz"},  # a NaN must reach the loss
}
"""Of every compiled function of the kernel; only the outermost are cached."""

IN_ORDER = OPTIONS | {"fastmath": {"contract", "nsz"}}
"""Of those where the order of factors decides the rounding. Numba optimises a function
once where it has just been compiled, but twice in the cache, which reorders them."""

_F = np.float32
ZERO, HALF, ONE, TWO = _F(0), _F(0.5), _F(1), _F(2)
# tanh(x) = x P(x^2) / Q(x^2): minimax fit on [-9, 9], relative error 2e-8.
SQUARE_END = _F(81)
P0, P1, P2 = _F(0.9999999794811942), _F(0.13381020931293758), _F(0.0034955826030734485)
P3, P4 = _F(2.060899528733086e-05), _F(1.3354549303535034e-08)
Q1, Q2 = _F(0.4671433653026628), _F(0.0258769609845691)
Q3, Q4 = _F(0.00032856259415669494), _F(7.776510562682434e-07)
LEAK = _F(0.01)
SELU_SCALE = _F(1.0507009873554804934193349852946)
SELU_LOW = _F(1.0507009873554804934193349852946 * 1.6732632423543772848170429916717)


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
