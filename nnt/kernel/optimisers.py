"""Updates of all weights at once, in compiled loops over flat arrays."""

from __future__ import annotations

import numpy as np
from numba import njit

from nnt.kernel.activations import ONE, OPTIONS, ZERO
from nnt.kernel.quotients import quotient, root

OPTIMISER_CODES = {"Adam": 0, "AdamW": 1, "SGD": 2, "Rprop": 3}

_F = np.float32
MOMENTUM = _F(0.9)
BETA1, BETA2 = _F(0.9), _F(0.999)
REST1, REST2 = _F(1 - 0.9), _F(1 - 0.999)
EPSILON = _F(1e-8)
SHRINK, GROW, STEP_MIN, STEP_MAX = _F(0.5), _F(1.2), _F(1e-6), _F(50)


@njit(**OPTIONS)
def clip(g, limit):
    """Shorten the whole gradient to a norm of at most `limit`."""
    square = ZERO
    for k in range(g.size):
        square += g[k] * g[k]
    factor = limit / (np.sqrt(square) + _F(1e-6))
    if factor < ONE:
        for k in range(g.size):
            g[k] *= factor


@njit(**OPTIONS)
def adam(p, g, m, v, step, rate, decay, decoupled):
    """Do a step of Adam, or of AdamW, whose decay is decoupled from the gradient."""
    size = _F(rate / (1.0 - 0.9**step))
    grown = _F(1.0 / np.sqrt(1.0 - 0.999**step))
    keep = _F(1.0 - rate * decay) if decoupled else ONE
    pull = ZERO if decoupled else _F(decay)
    for k in range(p.size):
        w = p[k] * keep
        s = g[k] + pull * w
        m[k] = BETA1 * m[k] + REST1 * s
        v[k] = BETA2 * v[k] + REST2 * s * s
        p[k] = w - quotient(size * m[k], root(v[k]) * grown + EPSILON)


@njit(**OPTIONS)
def _sgd(p, g, m, rate, decay):
    r, pull = _F(rate), _F(decay)
    for k in range(p.size):
        m[k] = MOMENTUM * m[k] + g[k] + pull * p[k]
        p[k] -= r * m[k]


@njit(**OPTIONS)
def _rprop(p, g, last, size, step, rate):
    if step == 1:
        size[:] = _F(rate)
    for k in range(p.size):
        turn = g[k] * last[k]
        s = size[k] * (GROW if turn > ZERO else (SHRINK if turn < ZERO else ONE))
        s = STEP_MAX if s > STEP_MAX else s
        size[k] = STEP_MIN if s < STEP_MIN else s
        slope = ZERO if turn < ZERO else g[k]
        p[k] -= size[k] * (ONE if slope > ZERO else (-ONE if slope < ZERO else ZERO))
        last[k] = slope


@njit(inline="always", **OPTIONS)
def update(optim, flats, step, rate, decay):
    """Do one step; `flats` are weights, gradients, first and second moments."""
    p, g, m, v = flats
    if optim <= 1:
        adam(p, g, m, v, step, rate, decay, optim == 1)
    elif optim == 2:
        _sgd(p, g, m, rate, decay)
    else:
        _rprop(p, g, m, v, step, rate)


@njit(**OPTIONS)
def follow(p, mean, step, keep):
    """Take the weights after `step` steps into their moving average.

    After n steps the weights of step i count ``keep^(n - i)``, relative to the others;
    those before the first step do not.
    """
    share = _F((1.0 - keep) / (1.0 - keep**step))
    for k in range(p.size):
        mean[k] += share * (p[k] - mean[k])
