"""The compiled loops: forward, backward and update of many batches.

Arrays are padded: ``w1`` is (inputs + bias, rounded up to `BLOCK`; `WIDTH`), the bias
its last row, ``w2`` is (outputs, `WIDTH`). What is padding stays zero.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from nnt.compiled import njit
from nnt.detector import N_HIDDEN
from nnt.kernel.lanes import LANES, add_product, load, no_lanes, prefetch, store, total

__all__ = [
    "ACTIVATION_CODES",
    "BLOCK",
    "OPTIMISER_CODES",
    "WIDTH",
    "aligned_zeros",
    "predict_rows",
    "train_batches",
]

ACTIVATION_CODES = {
    "tanh": 0,
    "tanh/2": 1,
    "softsign": 2,
    "relu": 3,
    "sigmoid": 4,
    "leaky_relu": 5,
    "selu": 6,
}
OPTIMISER_CODES = {"Adam": 0, "AdamW": 1, "SGD": 2, "Rprop": 3}

WIDTH = -(-N_HIDDEN // 32) * 32  # of lanes, however many they are
BLOCK = 4  # sums that are held in registers at the same time
LINE, FLOAT_BYTES = 16, 4  # numbers in a line of the cache
TILE = 32  # rows; their hidden layer and its gradient fit the first cache

# A NaN keeps its meaning: it must reach the loss.
_OPTIONS: dict[str, Any] = {
    "error_model": "numpy",
    "fastmath": {"reassoc", "contract", "nsz"},
}

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
MOMENTUM = _F(0.9)
BETA1, BETA2 = _F(0.9), _F(0.999)
REST1, REST2 = _F(1 - 0.9), _F(1 - 0.999)
EPSILON = _F(1e-8)
SHRINK, GROW, STEP_MIN, STEP_MAX = _F(0.5), _F(1.2), _F(1e-6), _F(50)


@njit(inline="always", **_OPTIONS)
def _tanh(x):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    u = x * x
    u = SQUARE_END if u > SQUARE_END else u  # beyond it, t grows out of [-1, 1]
    p = x * ((((P4 * u + P3) * u + P2) * u + P1) * u + P0)
    t = p / ((((Q4 * u + Q3) * u + Q2) * u + Q1) * u + ONE)
    t = ONE if t > ONE else t
    return -ONE if t < -ONE else t


@njit(**_OPTIONS)
def _activate(code, a):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """Replace the flat array by its activation."""
    n = a.size
    if code == 0:
        for k in range(n):
            a[k] = _tanh(a[k])
    elif code == 1:
        for k in range(n):
            a[k] = _tanh(HALF * a[k])
    elif code == 2:
        for k in range(n):
            a[k] = a[k] / (ONE + abs(a[k]))
    elif code == 3:
        for k in range(n):
            a[k] = ZERO if a[k] < ZERO else a[k]
    elif code == 4:
        for k in range(n):
            a[k] = HALF + HALF * _tanh(HALF * a[k])
    elif code == 5:
        for k in range(n):
            a[k] = LEAK * a[k] if a[k] < ZERO else a[k]
    else:
        for k in range(n):
            # exp(x) - 1 = 2 t / (1 - t) with t = tanh(x / 2), exact near zero
            low = ZERO if a[k] > ZERO else a[k]
            t = _tanh(HALF * low)
            a[k] = SELU_SCALE * a[k] if a[k] > ZERO else SELU_LOW * TWO * t / (ONE - t)


@njit(**_OPTIONS)
def _times_slope(code, a, d):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """Multiply `d` by the slope of the activation, told by its value `a`."""
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


@njit(**_OPTIONS)
def _forward(code, xt, w1, w2, b2, hid, out, rows):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """Fill `hid` (TILE, WIDTH) and `out` (TILE, O) from the inputs of a tile."""
    bias = w1.shape[0] - 1
    for t in range(0, rows, BLOCK):
        for h in range(0, WIDTH, LANES):
            s0 = load(w1, bias, h)
            s1, s2, s3 = s0, s0, s0
            for i in range(bias):
                u = load(w1, i, h)
                s0 = add_product(s0, xt[t, i], u)
                s1 = add_product(s1, xt[t + 1, i], u)
                s2 = add_product(s2, xt[t + 2, i], u)
                s3 = add_product(s3, xt[t + 3, i], u)
            store(hid, t, h, s0)
            store(hid, t + 1, h, s1)
            store(hid, t + 2, h, s2)
            store(hid, t + 3, h, s3)
    _activate(code, hid.reshape(-1)[: rows * WIDTH])
    for t in range(0, rows, BLOCK):
        for o in range(w2.shape[0]):
            s0, s1, s2, s3 = no_lanes(), no_lanes(), no_lanes(), no_lanes()
            for h in range(0, WIDTH, LANES):
                u = load(w2, o, h)
                s0 = add_product(s0, load(hid, t, h), u)
                s1 = add_product(s1, load(hid, t + 1, h), u)
                s2 = add_product(s2, load(hid, t + 2, h), u)
                s3 = add_product(s3, load(hid, t + 3, h), u)
            out[t, o], out[t + 1, o] = total(s0) + b2[o], total(s1) + b2[o]
            out[t + 2, o], out[t + 3, o] = total(s2) + b2[o], total(s3) + b2[o]
    _activate(code, out.reshape(-1)[: rows * w2.shape[0]])


@njit(**_OPTIONS)
def _backward(code, xt, w2, hid, err, d, g1, g2, gb, rows):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """Add the gradients of a tile, given `err` (TILE, O) before the activation."""
    for o in range(w2.shape[0]):
        e = ZERO
        for t in range(rows):
            e += err[t, o]
        gb[o] += e
        for h in range(0, WIDTH, LANES):
            s0 = load(g2, o, h)
            s1, s2, s3 = no_lanes(), no_lanes(), no_lanes()
            for t in range(0, rows, BLOCK):
                s0 = add_product(s0, err[t, o], load(hid, t, h))
                s1 = add_product(s1, err[t + 1, o], load(hid, t + 1, h))
                s2 = add_product(s2, err[t + 2, o], load(hid, t + 2, h))
                s3 = add_product(s3, err[t + 3, o], load(hid, t + 3, h))
            s0, s2 = add_product(s0, ONE, s1), add_product(s2, ONE, s3)
            store(g2, o, h, add_product(s0, ONE, s2))
    for t in range(rows):
        for h in range(0, WIDTH, LANES):
            s0 = no_lanes()
            for o in range(w2.shape[0]):
                s0 = add_product(s0, err[t, o], load(w2, o, h))
            store(d, t, h, s0)
    _times_slope(code, hid.reshape(-1)[: rows * WIDTH], d.reshape(-1)[: rows * WIDTH])
    for i in range(0, g1.shape[0], BLOCK):
        for h in range(0, WIDTH, LANES):
            s0, s1 = load(g1, i, h), load(g1, i + 1, h)
            s2, s3 = load(g1, i + 2, h), load(g1, i + 3, h)
            for t in range(rows):
                u = load(d, t, h)
                s0 = add_product(s0, xt[t, i], u)
                s1 = add_product(s1, xt[t, i + 1], u)
                s2 = add_product(s2, xt[t, i + 2], u)
                s3 = add_product(s3, xt[t, i + 3], u)
            store(g1, i, h, s0)
            store(g1, i + 1, h, s1)
            store(g1, i + 2, h, s2)
            store(g1, i + 3, h, s3)


@njit(**_OPTIONS)
def _clip(g, limit):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    square = ZERO
    for k in range(g.size):
        square += g[k] * g[k]
    factor = limit / (np.sqrt(square) + _F(1e-6))
    if factor < ONE:
        for k in range(g.size):
            g[k] *= factor


@njit(**_OPTIONS)
def _adam(p, g, m, v, step, rate, decay, decoupled):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    size = _F(rate / (1.0 - 0.9**step))
    root = _F(1.0 / np.sqrt(1.0 - 0.999**step))
    keep = _F(1.0 - rate * decay) if decoupled else ONE
    pull = ZERO if decoupled else _F(decay)
    for k in range(p.size):
        w = p[k] * keep
        s = g[k] + pull * w
        m[k] = BETA1 * m[k] + REST1 * s
        v[k] = BETA2 * v[k] + REST2 * s * s
        p[k] = w - size * m[k] / (np.sqrt(v[k]) * root + EPSILON)


@njit(**_OPTIONS)
def _sgd(p, g, m, rate, decay):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    r, pull = _F(rate), _F(decay)
    for k in range(p.size):
        m[k] = MOMENTUM * m[k] + g[k] + pull * p[k]
        p[k] -= r * m[k]


@njit(**_OPTIONS)
def _rprop(p, g, last, size, step, rate):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
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


@njit(**_OPTIONS)
def _update(optim, p, g, m, v, step, rate, decay):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    if optim <= 1:
        _adam(p, g, m, v, step, rate, decay, optim == 1)
    elif optim == 2:
        _sgd(p, g, m, rate, decay)
    else:
        _rprop(p, g, m, v, step, rate)


@njit(**_OPTIONS)
def _gather(x, order, start, rows, padded, xt):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """Copy the rows of a tile; the others are zero, also their bias input."""
    n, bias = x.shape[1], xt.shape[1] - 1
    for t in range(padded):
        if t < rows:
            r = order[start + t]
            for i in range(n):
                xt[t, i] = x[r, i]
            xt[t, bias] = ONE
        else:
            for i in range(n):
                xt[t, i] = ZERO
            xt[t, bias] = ZERO


@njit(**_OPTIONS)
def _ask_for(x, y, order, start, end):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """Have the rows of the next tile fetched while this one is worked on."""
    n = x.shape[1]
    for t in range(start, end):
        for i in range(0, n, LINE):
            prefetch(x, order[t], i)
        prefetch(x, order[t], n - 1)
        prefetch(y, order[t], 0)


@njit(**_OPTIONS)
def _errors(y, order, start, rows, padded, scale, out, err):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """Fill the slope of the loss by the outputs; return the sum of squares."""
    total = 0.0
    for t in range(padded):
        for o in range(y.shape[1]):
            e = out[t, o] - y[order[start + t], o] if t < rows else ZERO
            err[t, o] = e * scale
            total += float(e * e)
    return total


@njit(**_OPTIONS)
def aligned_zeros(rows, columns):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201
    """Zeros (rows, columns), float32, that begin with a line of the cache.

    A vector that spans two lines is read and written at half the speed.
    """
    room = np.zeros(rows * columns + LINE, np.float32)
    skipped = -(room.ctypes.data // FLOAT_BYTES) % LINE
    return room[skipped : skipped + rows * columns].reshape(rows, columns)


@njit(**_OPTIONS)
def train_batches(  # type: ignore[no-untyped-def]  # noqa: ANN201
    x,  # noqa: ANN001
    y,  # noqa: ANN001
    order,  # noqa: ANN001
    size,  # noqa: ANN001
    act,  # noqa: ANN001
    optim,  # noqa: ANN001
    layers,  # noqa: ANN001
    slopes,  # noqa: ANN001
    flat,  # noqa: ANN001
    hidden,  # noqa: ANN001
    step,  # noqa: ANN001
    rate,  # noqa: ANN001
    decay,  # noqa: ANN001
    limit,  # noqa: ANN001
):
    """Train on all batches; return the sum of squares and the first bad batch or -1."""
    w1, w2, b2 = layers
    g1, g2, gb = slopes
    p, g, m, v = flat
    n_out = w2.shape[0]
    xt = aligned_zeros(TILE, w1.shape[0])
    hid, d = aligned_zeros(TILE, WIDTH), aligned_zeros(TILE, WIDTH)
    out = np.zeros((TILE, n_out), np.float32)
    err = np.zeros((TILE, n_out), np.float32)
    total = 0.0
    for batch in range((order.size + size - 1) // size):
        first = batch * size
        end = min(first + size, order.size)
        scale = TWO / _F((end - first) * n_out)
        g[:] = ZERO
        square = 0.0
        for start in range(first, end, TILE):
            rows = min(TILE, end - start)
            padded = -(-rows // BLOCK) * BLOCK
            _gather(x, order, start, rows, padded, xt)
            _ask_for(x, y, order, start + rows, min(start + rows + TILE, order.size))
            _forward(act, xt, w1, w2, b2, hid, out, padded)
            square += _errors(y, order, start, rows, padded, scale, out, err)
            _times_slope(act, out.reshape(-1), err.reshape(-1))
            _backward(act, xt, w2, hid, err, d, g1, g2, gb, padded)
        if not np.isfinite(square):
            return total, batch
        g2[:, hidden:] = ZERO
        if limit > ZERO:
            _clip(g, limit)
        _update(optim, p, g, m, v, step + batch + 1, rate, decay)
        total += square
    return total, -1


@njit(**_OPTIONS)
def predict_rows(x, act, w1, w2, b2, result):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201
    """Fill `result` (N, O) with the outputs for the rows of `x` (N, I)."""
    xt, hid = aligned_zeros(TILE, w1.shape[0]), aligned_zeros(TILE, WIDTH)
    out = np.zeros((TILE, w2.shape[0]), np.float32)
    order = np.arange(x.shape[0])
    for start in range(0, order.size, TILE):
        rows = min(TILE, order.size - start)
        padded = -(-rows // BLOCK) * BLOCK
        _gather(x, order, start, rows, padded, xt)
        _forward(act, xt, w1, w2, b2, hid, out, padded)
        for t in range(rows):
            for o in range(w2.shape[0]):
                result[start + t, o] = out[t, o]
