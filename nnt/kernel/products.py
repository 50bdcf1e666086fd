"""Products of matrices on a tile of rows, with sums held in registers."""

from __future__ import annotations

from numba import njit

from nnt.kernel.activations import ONE, OPTIONS, ZERO
from nnt.kernel.lanes import (
    BLOCK,
    LANES,
    SQUARE,
    add_product,
    load,
    no_lanes,
    spread,
    store,
    total,
    turn_square,
)


@njit(**OPTIONS)
def multiply(task, tile, weights, rows):
    """Multiply rows of the tile by a matrix; a `PRODUCT` of `nnt.kernel.plan`.

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
    """Add the gradients of a hidden layer; a `GRADIENT` of `nnt.kernel.plan`.

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
    """Copy a matrix with its rows as columns; a `TURN` of `nnt.kernel.plan`."""
    squares = task.terms // SQUARE * SQUARE
    for o in range(0, task.nodes, SQUARE):
        result = task.result + o * task.result_step
        for i in range(0, squares, SQUARE):
            turn_square(
                weights, task.matrix + i * task.matrix_step + o, task.matrix_step,
                turned, result + i, task.result_step,
            )  # fmt: skip
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
