"""The compiled loops: forward, backward and update of many batches.

Numba keeps what it has compiled on disk, and looks only at the file of a function when
it decides whether that is up to date. The two functions that are kept hold a digest of
all sources of this package, which is part of the key.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numba import njit

from nnt import compiled
from nnt.kernel.lanes import (
    BLOCK,
    FLOAT_BYTES,
    ONE,
    OPTIONS,
    ZERO,
    prefetch,
    quotient,
    root,
)
from nnt.kernel.plan import (
    CACHE_LINE,
    TILE,
    add_gradient,
    add_last_gradient,
    last_sums,
    multiply,
    slopes_before_last,
    turn,
)
from nnt.kernel.slopes import Target, activate, slopes_of_loss, times_slope

OPTIMISER_CODES = {"Adam": 0, "AdamW": 1, "SGD": 2, "Rprop": 3}

_F = np.float32
MOMENTUM = _F(0.9)
BETA1, BETA2 = _F(0.9), _F(0.999)
REST1, REST2 = _F(1 - 0.9), _F(1 - 0.999)
EPSILON = _F(1e-8)
SHRINK, GROW, STEP_MIN, STEP_MAX = _F(0.5), _F(1.2), _F(1e-6), _F(50)


class Settings(NamedTuple):
    """Of one epoch; numbers alone, whose types never change."""

    batch_size: int
    optim: int
    step: int
    """Steps that were done before."""
    rate: float
    decay: float
    limit: np.float32
    """Largest norm of the gradient; 0: none."""
    keep: float
    """Of the moving average of the weights."""
    decayed: int
    """Numbers in the flat arrays that are weights."""
    learned: int
    """With those of a decision: as many or more."""
    inputs_step: int
    """Distance of rows of inputs in the tile."""


@njit(**OPTIONS)
def aligned_zeros(size):
    """Zeros, float32, that begin with a line of the cache.

    A vector that spans two lines is read and written at half the speed.
    """
    room = np.zeros(size + CACHE_LINE, np.float32)
    skipped = -(room.ctypes.data // FLOAT_BYTES) % CACHE_LINE
    return room[skipped : skipped + size]


@njit(**OPTIONS)
def gather(x, order, padded, inputs):
    """Copy the rows of a tile; the others are zero, also their bias input."""
    n, bias = x.shape[1], -(-(x.shape[1] + 1) // BLOCK) * BLOCK - 1
    for t in range(padded):
        if t < order.size:
            r = order[t]
            for i in range(n):
                inputs[t, i] = x[r, i]
            inputs[t, bias] = ONE
        else:
            for i in range(n):
                inputs[t, i] = ZERO
            inputs[t, bias] = ZERO


@njit(**OPTIONS)
def _ask_for(x, y, w, order):
    """Have the rows of the next tile fetched while this one is worked on."""
    n = x.shape[1]
    for t in range(order.size):
        for i in range(0, n, CACHE_LINE):
            prefetch(x, order[t], i)
        prefetch(x, order[t], n - 1)
        prefetch(y, order[t], 0)
        if w.size:
            prefetch(w, order[t], 0)


@njit(inline="always", **OPTIONS)
def _forward(tables, act, tile, weights, sums, out, rows):
    """Go from the inputs of a tile to its outputs.

    `sums` take them before activation, if these are wanted: else it has no rows.
    """
    forward, last = tables
    for i in range(forward.size):
        task = forward[i]
        multiply(task, tile, weights, rows)
        activate(act, tile[task.result : task.result + rows * task.width])
    last_sums(last[0], tile, weights, out, rows)
    if sums.shape[0]:
        for t in range(rows):
            for o in range(out.shape[1]):
                sums[t, o] = out[t, o]
    activate(act, out.reshape(-1)[: rows * out.shape[1]])


@njit(inline="always", **OPTIONS)
def _backward(tables, act, tile, err, flats, rows, first):
    """Add the gradients of a tile, from the last layer to the first."""
    forward, backward, gradients, last = tables
    weights, turned, g = flats
    add_last_gradient(last[0], tile, err, g, rows, first)
    if gradients.size:
        slopes_before_last(last[0], tile, err, weights, rows)
    for i in range(gradients.size - 1, -1, -1):
        task = gradients[i]
        n = rows * task.width
        output = forward[i].result
        times_slope(act, tile[output : output + n], tile[task.slopes : task.slopes + n])
        add_gradient(task, tile, g, rows, first)
        if i:
            multiply(backward[i - 1], tile, turned, rows)


@njit(inline="always", **OPTIONS)
def _clear_padding(gradients, last, g):
    """Take away gradients of what is padding, where activations of 0 are not 0."""
    for i in range(1, gradients.size):
        task = gradients[i]
        start = task.matrix + task.terms * task.matrix_step
        g[start : task.matrix + task.blocks * task.matrix_step] = ZERO
    task = last[0]
    for o in range(task.outputs):
        start = task.matrix + o * task.width
        g[start + task.terms : start + task.width] = ZERO


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


@njit(inline="always", **OPTIONS)
def _step(settings, step, flats):
    """Clip, update, average; numbers of a decision do not decay."""
    p, g, m, v, mean = flats
    n, end = settings.decayed, settings.learned
    if settings.limit > ZERO:
        clip(g[:end], settings.limit)
    decayed = (p[:n], g[:n], m[:n], v[:n])
    update(settings.optim, decayed, step, settings.rate, settings.decay)
    if end > n:
        others = (p[n:end], g[n:end], m[n:end], v[n:end])
        update(settings.optim, others, step, settings.rate, 0.0)
    if mean.size:
        follow(p, mean, step, settings.keep)


@njit(inline="always", **OPTIONS)
def _train_batches(rows, order, tables, target, settings, flats):
    """Train on all batches; see `train_batches`."""
    x, y, w = rows
    forward, backward, gradients, turns, last = tables
    p, g, m, v, mean, turned, tile = flats
    inputs = tile[: TILE * settings.inputs_step].reshape(TILE, settings.inputs_step)
    out = np.zeros((TILE, last[0].outputs), np.float32)
    err, sums = np.zeros_like(out), np.zeros_like(out[: TILE * target.logistic])
    size, total = settings.batch_size, 0.0
    for batch in range((order.size + size - 1) // size):
        first, end = batch * size, min((batch + 1) * size, order.size)
        if target.decision > 0.0:
            g[target.cut], g[target.cut + 1] = ZERO, ZERO
        for i in range(turns.size):
            turn(turns[i], p, turned)
        loss = 0.0
        for start in range(first, end, TILE):
            stop = min(start + TILE, end)
            here = order[start:stop]
            padded = -(-here.size // BLOCK) * BLOCK
            gather(x, here, padded, inputs)
            _ask_for(x, y, w, order[stop : stop + TILE])
            _forward((forward, last), target.act, tile, p, sums, out, padded)
            index = (end - first, here)
            loss += slopes_of_loss(target, (y, w), index, sums, out, err, (p, g))
            places, weights = (forward, backward, gradients, last), (p, turned, g)
            _backward(places, target.act, tile, err, weights, padded, start == first)
        if not np.isfinite(loss):
            return total, batch
        _clear_padding(gradients, last, g)
        _step(settings, settings.step + batch + 1, (p, g, m, v, mean))
        total += loss
    return total, -1


@njit(**OPTIONS)
def _predict_rows(x, tables, act, inputs_step, flats, result):
    """Fill `result`; see `predict_rows`."""
    forward, last = tables[0], tables[4]
    p, tile = flats
    inputs = tile[: TILE * inputs_step].reshape(TILE, inputs_step)
    out = np.zeros((TILE, last[0].outputs), np.float32)
    sums = np.zeros_like(out[:0])
    order = np.arange(x.shape[0])
    for start in range(0, order.size, TILE):
        here = order[start : start + TILE]
        padded = -(-here.size // BLOCK) * BLOCK
        gather(x, here, padded, inputs)
        _forward((forward, last), act, tile, p, sums, out, padded)
        for t in range(here.size):
            for o in range(out.shape[1]):
                result[start + t, o] = out[t, o]


def _sources() -> str:
    """Digest of all that the compiled functions depend on."""
    here = Path(__file__).parent
    digest = hashlib.sha256()
    for path in (*sorted(here.glob("*.py")), here.parent / "objective.py"):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _entries(sources: str) -> tuple[Any, Any]:
    """Make the functions that are kept on disk, by the digest of their sources."""

    @compiled.njit(**OPTIONS)
    def train(rows, order, tables, target, settings, flats):
        len(sources)
        # Named tuples are made here: it takes longer to recognise them as arguments.
        target, settings = Target(*target), Settings(*settings)
        return _train_batches(rows, order, tables, target, settings, flats)

    @compiled.njit(**OPTIONS)
    def predict(x, tables, act, inputs_step, flats, result):
        len(sources)
        _predict_rows(x, tables, act, inputs_step, flats, result)

    return train, predict


train_batches, predict_rows = _entries(_sources())
"""Train on all batches: ``(rows, order, tables, target, settings, flats)``.

`rows` are inputs (N, I), targets (N, T) and weights (N, T), which have no size where
there are none; `tables` those of `nnt.kernel.plan`; `target` and `settings` plain
tuples of the fields of `Target` and `Settings`; `flats` weights, gradients, both
moments, the average of the weights, turned weights, tile. Returns the sum of the losses
of all rows, and the first bad batch or -1.

`predict_rows` takes ``(x, tables, act, inputs_step, flats, result)`` and fills
`result` (N, O) with the outputs for the rows of `x` (N, I); `flats` are weights and
tile.
"""
