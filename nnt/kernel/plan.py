"""Where the numbers of a network lie, and the compiled products of its matrices.

All weights of a network lie in one flat array, as do their gradients and moments; the
tile of rows that is worked on lies in another. Columns are padded to whole `LANES`, so
that inner loops have no rest; what is padding stays zero. ::

    weights   hidden layer: (inputs, nodes), then its biases; a first layer has its
              biases as the weights of one more input, which is always one
              last layer: (outputs, inputs), then its biases
    tile      (TILE, inputs and the one), then (TILE, nodes) of each hidden layer,
              then the slopes of the loss by two of them in turn

What the loops do to a layer is a task, a row in a table of places, so that one
compilation serves networks of any form. Sums of products are held in registers, four
at a time.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt
from numba import njit

from nnt.kernel.lanes import (
    BLOCK,
    LANES,
    ONE,
    OPTIONS,
    SQUARE,
    ZERO,
    add_product,
    load,
    no_lanes,
    spread,
    store,
    total,
    turn_square,
)
from nnt.types import F32

TILE = 32
"""Rows; what they need of a small network fits the first cache."""

CACHE_LINE = 16
"""Numbers of float32."""


def _record(names: str) -> np.dtype[np.void]:
    return np.dtype([(name, np.int64) for name in names.split()])


PRODUCT = _record("source source_step terms matrix matrix_step start result width")
"""Rows of the tile (rows, terms), times weights (terms, width), from `start` (width,)
on, or from zero where it is -1; the result are rows of the tile (rows, width)."""

GRADIENT = _record(
    "source source_step terms blocks slopes width matrix matrix_step bias"
)
"""Rows of the tile (rows, terms), times their slopes (rows, width), make gradients
(blocks, width); `blocks` are the terms in whole `BLOCK`. Those of the biases (width,)
are among them where `bias` is -1."""

TURN = _record("matrix matrix_step terms nodes result result_step")
"""Weights (terms, nodes) become turned weights (nodes, terms)."""

LAST = _record("source width terms matrix outputs bias slopes")
"""Rows of the tile (rows, width), times weights (outputs, width), plus biases; the
slopes of the loss by the source are (rows, width), none where they are at -1."""


@dataclass(frozen=True, eq=False)
class Plan:
    """Places of everything, for a network of these layers."""

    nodes: tuple[int, ...]
    """From inputs to outputs."""
    tables: tuple[npt.NDArray[np.void], ...]
    """Products forward and backward, gradients, turns: one for each hidden layer, but
    backward and turns without the first; and the last layer."""
    views: Mapping[str, tuple[int, tuple[int, int], tuple[int, int], bool]]
    """By name: start, padded shape, shape in use, whether it lies turned."""
    n_weights: int
    """Length of the flat arrays without their own padding."""
    n_tile: int
    n_turned: int
    inputs_step: int
    """Distance of rows of inputs in the tile."""

    def view(self, flat: F32, name: str) -> F32:
        """Weights of one name in a flat array, in the shape of the state dict."""
        start, (rows, step), (used_rows, used), turned = self.views[name]
        padded = flat[start : start + rows * step].reshape(rows, step)
        part: F32 = padded[:used_rows, :used]
        if name.endswith("bias"):
            part = part[0]
        return part.T if turned else part


def _up(number: int, multiple: int) -> int:
    return -(-number // multiple) * multiple


def _step(width: int) -> int:
    """Give the distance of rows: apart from powers of two, which share few lines."""
    return width + CACHE_LINE if width % 128 == 0 else width


def plan_of(nodes: tuple[int, ...]) -> Plan:
    """Lay out a network of these inputs, nodes of hidden layers, outputs."""
    n_hidden, n_outputs = len(nodes) - 2, nodes[-1]
    # A block of inputs, the last of which is always one.
    first_terms = _up(nodes[0] + 1, BLOCK)
    widths = [_up(n, LANES) for n in (first_terms, *nodes[1:-1])]
    tiles = np.cumsum([0, *(TILE * width for width in widths)]).tolist()
    # Slopes by the nodes of the hidden layers, in turn; -1 where there are none.
    n_slopes = TILE * max(widths)
    slopes = [tiles[-1] + i % 2 * n_slopes for i in range(n_hidden)]
    views = {}
    forward, backward, gradients, turns = [], [], [], []
    end = n_turned = 0
    for i, (terms, n) in enumerate(pairwise(nodes[:-1])):
        width, step = widths[i + 1], _step(widths[i + 1])
        blocks = _up(terms, BLOCK) if i else first_terms
        matrix, bias = end, end + (blocks if i else blocks - 1) * step
        end = bias + step
        views[f"net.{2 * i}.weight"] = matrix, (blocks, step), (terms, n), True
        views[f"net.{2 * i}.bias"] = bias, (1, step), (1, n), False
        source = tiles[i], widths[i]
        product = *source, terms, matrix, step, bias, tiles[i + 1], width
        forward.append(product)
        to = matrix, step, bias if i else -1
        gradients.append((*source, terms, blocks, slopes[i], width, *to))
        if i:
            turned = n_turned, _step(widths[i])
            turns.append((matrix, step, terms, n, *turned))
            by_nodes, by_terms = (slopes[i], width), (slopes[i - 1], widths[i])
            backward.append((*by_nodes, n, *turned, -1, *by_terms))
            n_turned += _up(n, LANES) * turned[1]
    terms, width = nodes[-2], widths[-1]
    bias = end + n_outputs * width
    shapes = (n_outputs, width), (n_outputs, terms)
    views[f"net.{2 * n_hidden}.weight"] = end, *shapes, False
    views[f"net.{2 * n_hidden}.bias"] = bias, (1, n_outputs), (1, n_outputs), False
    before = slopes[-1] if n_hidden else -1
    last = tiles[-2], width, terms, end, n_outputs, bias, before
    tables = forward, backward, gradients, turns, [last]
    records = PRODUCT, PRODUCT, GRADIENT, TURN, LAST
    return Plan(
        nodes=nodes,
        tables=tuple(map(np.array, tables, records)),
        views=views,
        n_weights=bias + n_outputs,
        n_tile=tiles[-1] + 2 * n_slopes,
        n_turned=n_turned,
        inputs_step=widths[0],
    )


@njit(**OPTIONS)
def multiply(task, tile, weights, rows):
    """Multiply rows of the tile by a matrix; a `PRODUCT`.

    Columns come first: those of the matrix that are at work stay in the cache for
    all rows.
    """
    jump = task.source_step
    for h in range(0, task.width, LANES):
        for t in range(0, rows, BLOCK):
            a0 = task.source + t * jump
            a1, a2, a3 = a0 + jump, a0 + 2 * jump, a0 + 3 * jump
            s0 = no_lanes() if task.start < 0 else load(weights, task.start + h)
            s1, s2, s3 = s0, s0, s0
            at = task.matrix + h
            for i in range(task.terms):
                u = load(weights, at)
                s0 = add_product(s0, spread(tile, a0 + i), u)
                s1 = add_product(s1, spread(tile, a1 + i), u)
                s2 = add_product(s2, spread(tile, a2 + i), u)
                s3 = add_product(s3, spread(tile, a3 + i), u)
                at += task.matrix_step
            at = task.result + t * task.width + h
            store(tile, at, s0)
            store(tile, at + task.width, s1)
            store(tile, at + 2 * task.width, s2)
            store(tile, at + 3 * task.width, s3)


@njit(**OPTIONS)
def add_gradient(task, tile, g, rows, first):
    """Add the gradients of a hidden layer; a `GRADIENT`.

    The first tile of a batch begins them.
    """
    jump = task.matrix_step
    for h in range(0, task.width, LANES):
        if task.bias >= 0:
            s0 = no_lanes() if first else load(g, task.bias + h)
            for t in range(rows):
                s0 = add_product(s0, ONE, load(tile, task.slopes + t * task.width + h))
            store(g, task.bias + h, s0)
        for i in range(0, task.blocks, BLOCK):
            g0 = task.matrix + i * jump + h
            s0, s1, s2, s3 = no_lanes(), no_lanes(), no_lanes(), no_lanes()
            if not first:
                s0, s1 = load(g, g0), load(g, g0 + jump)
                s2, s3 = load(g, g0 + 2 * jump), load(g, g0 + 3 * jump)
            a = task.source + i
            d = task.slopes + h
            for _ in range(rows):
                u = load(tile, d)
                s0 = add_product(s0, spread(tile, a), u)
                s1 = add_product(s1, spread(tile, a + 1), u)
                s2 = add_product(s2, spread(tile, a + 2), u)
                s3 = add_product(s3, spread(tile, a + 3), u)
                a += task.source_step
                d += task.width
            store(g, g0, s0)
            store(g, g0 + jump, s1)
            store(g, g0 + 2 * jump, s2)
            store(g, g0 + 3 * jump, s3)


@njit(**OPTIONS)
def turn(task, weights, turned):
    """Copy a matrix with its rows as columns; a `TURN`."""
    squares = task.terms // SQUARE * SQUARE
    for o in range(0, task.nodes, SQUARE):
        result = task.result + o * task.result_step
        for i in range(0, squares, SQUARE):
            place = task.matrix + i * task.matrix_step + o
            turn_square(
                weights, place, task.matrix_step, turned, result + i, task.result_step
            )
    for i in range(squares, task.terms):
        for o in range(task.nodes):
            turned[task.result + o * task.result_step + i] = weights[
                task.matrix + i * task.matrix_step + o
            ]


@njit(**OPTIONS)
def last_sums(last, tile, weights, sums, rows):
    """Fill `sums` (TILE, O) of the last layer, before its activation."""
    width = last.width
    for t in range(0, rows, BLOCK):
        a = last.source + t * width
        for o in range(last.outputs):
            s0, s1, s2, s3 = no_lanes(), no_lanes(), no_lanes(), no_lanes()
            at = last.matrix + o * width
            for h in range(0, width, LANES):
                u = load(weights, at + h)
                s0 = add_product(s0, load(tile, a + h), u)
                s1 = add_product(s1, load(tile, a + h + width), u)
                s2 = add_product(s2, load(tile, a + h + 2 * width), u)
                s3 = add_product(s3, load(tile, a + h + 3 * width), u)
            bias = weights[last.bias + o]
            sums[t, o], sums[t + 1, o] = total(s0) + bias, total(s1) + bias
            sums[t + 2, o], sums[t + 3, o] = total(s2) + bias, total(s3) + bias


@njit(**OPTIONS)
def add_last_gradient(last, tile, err, g, rows, first):
    """Add the gradients of the last layer, given `err` (TILE, O) before activation."""
    width = last.width
    for o in range(last.outputs):
        e = ZERO
        for t in range(rows):
            e += err[t, o]
        g[last.bias + o] = e if first else g[last.bias + o] + e
        at = last.matrix + o * width
        for h in range(0, width, LANES):
            s0 = no_lanes() if first else load(g, at + h)
            s1, s2, s3 = no_lanes(), no_lanes(), no_lanes()
            for t in range(0, rows, BLOCK):
                a = last.source + t * width + h
                s0 = add_product(s0, err[t, o], load(tile, a))
                s1 = add_product(s1, err[t + 1, o], load(tile, a + width))
                s2 = add_product(s2, err[t + 2, o], load(tile, a + 2 * width))
                s3 = add_product(s3, err[t + 3, o], load(tile, a + 3 * width))
            s0, s2 = add_product(s0, ONE, s1), add_product(s2, ONE, s3)
            store(g, at + h, add_product(s0, ONE, s2))


@njit(**OPTIONS)
def slopes_before_last(last, tile, err, weights, rows):
    """Fill the slopes of the loss by the outputs of the last hidden layer."""
    width, outputs = last.width, last.outputs
    for h in range(0, width, LANES):
        for t in range(0, rows, BLOCK):
            s0, s1, s2, s3 = no_lanes(), no_lanes(), no_lanes(), no_lanes()
            for o in range(outputs):
                u = load(weights, last.matrix + o * width + h)
                s0 = add_product(s0, err[t, o], u)
                s1 = add_product(s1, err[t + 1, o], u)
                s2 = add_product(s2, err[t + 2, o], u)
                s3 = add_product(s3, err[t + 3, o], u)
            at = last.slopes + t * width + h
            store(tile, at, s0)
            store(tile, at + width, s1)
            store(tile, at + 2 * width, s2)
            store(tile, at + 3 * width, s3)
