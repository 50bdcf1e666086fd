"""Where the numbers of a network lie, for the compiled loops.

All weights of a network lie in one flat array, as do their gradients and moments; the
tile of rows that is worked on lies in another. Columns are padded to whole `LANES`, so
that inner loops have no rest; what is padding stays zero. ::

    weights   hidden layer: (inputs, nodes), then its biases; a first layer has its
              biases as the weights of one more input, which is always one
              last layer: (outputs, inputs), then its biases
    tile      (TILE, inputs and the one), then (TILE, nodes) of each hidden layer,
              then the slopes of the loss by two of them in turn

What the loops do to a layer is a row in a table of places, so that one compilation
serves networks of any form.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from nnt.kernel.lanes import BLOCK, LANES
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
