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
from typing import Any

import numpy as np
import numpy.typing as npt

from nnt.kernel.lanes import BLOCK, LANES
from nnt.types import F32

__all__ = ["TILE", "Plan", "plan_of"]

TILE = 32
"""Rows; what they need of a small network fits the first cache."""

CACHE_LINE = 16
"""Numbers of float32."""

PRODUCT = np.dtype(
    [
        (name, np.int64)
        for name in (
            "source", "source_step",  # rows of the tile, (rows, terms)
            "terms",
            "matrix", "matrix_step",  # weights, (terms, width)
            "start",  # what sums begin with, (width,); -1: zero
            "result", "width",  # rows of the tile, (rows, width)
        )
    ]
)  # fmt: skip
GRADIENT = np.dtype(
    [
        (name, np.int64)
        for name in (
            "source", "source_step",  # rows of the tile, (rows, terms)
            "terms", "blocks",  # weights of both, the second a multiple of `BLOCK`
            "slopes", "width",  # rows of the tile, (rows, width)
            "matrix", "matrix_step",  # gradients, (blocks, width)
            "bias",  # (width,); -1: among the terms
        )
    ]
)  # fmt: skip
TURN = np.dtype(
    [
        (name, np.int64)
        for name in (
            "matrix", "matrix_step", "terms", "nodes",  # weights, (terms, nodes)
            "result", "result_step",  # turned weights, (nodes, terms)
        )
    ]
)  # fmt: skip
LAST = np.dtype(
    [
        (name, np.int64)
        for name in (
            "source", "width", "terms",  # rows of the tile, (rows, width)
            "matrix", "outputs",  # weights, (outputs, width)
            "bias",
            "slopes",  # of the loss by the source, (rows, width); -1: none
        )
    ]
)  # fmt: skip

Table = npt.NDArray[np.void]
Tables = tuple[Table, Table, Table, Table, Table]


@dataclass(frozen=True, eq=False)
class Plan:
    """Places of everything, for a network of these layers."""

    nodes: tuple[int, ...]
    """From inputs to outputs."""
    tables: Tables
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
    """Lay out a network.

    Parameters
    ----------
    nodes : tuple of int
        Inputs, nodes of the hidden layers, outputs.
    """
    return _Layout(nodes).plan()


class _Layout:
    """Places being given out, layer by layer."""

    def __init__(self, nodes: tuple[int, ...]) -> None:
        self.nodes = nodes
        self.weights = self.turned = 0
        self.views: dict[str, Any] = {}
        n_inputs, *hidden, _ = nodes
        # A block of inputs, the last of which is always one.
        self.first_terms = _up(n_inputs + 1, BLOCK)
        self.widths = [_up(self.first_terms, LANES), *(_up(n, LANES) for n in hidden)]
        ends = np.cumsum([0, *(TILE * width for width in self.widths)]).tolist()
        self.tiles: list[int] = ends[:-1]
        self.slopes: int = ends[-1]
        self.widest = max(self.widths)

    def plan(self) -> Plan:
        """Go through the layers."""
        n_hidden = len(self.nodes) - 2
        forward = np.zeros(n_hidden, PRODUCT)
        gradients = np.zeros(n_hidden, GRADIENT)
        turns = np.zeros(max(n_hidden - 1, 0), TURN)
        backward = np.zeros(max(n_hidden - 1, 0), PRODUCT)
        for i in range(n_hidden):
            forward[i], gradients[i] = self._hidden(i)
            if i:
                turns[i - 1] = self._turn(i, forward[i])
                backward[i - 1] = self._backward(i, turns[i - 1])
        last = np.array([self._last()], LAST)
        return Plan(
            nodes=self.nodes,
            tables=(forward, backward, gradients, turns, last),
            views=self.views,
            n_weights=self.weights,
            n_tile=self.slopes + 2 * TILE * self.widest,
            n_turned=self.turned,
            inputs_step=self.widths[0],
        )

    def _place(self, rows: int, step: int) -> int:
        start = self.weights
        self.weights += rows * step
        return start

    def _slopes_of(self, layer: int) -> int:
        """Where the slopes by the nodes of a hidden layer lie: in turn."""
        return self.slopes + (layer % 2) * TILE * self.widest

    def _hidden(self, i: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
        terms, nodes, width = self.nodes[i], self.nodes[i + 1], self.widths[i + 1]
        step = _step(width)
        blocks = _up(terms, BLOCK) if i else self.first_terms
        matrix = self._place(blocks, step)
        bias = self._place(1, step) if i else matrix + (blocks - 1) * step
        name = f"net.{2 * i}"
        self.views[f"{name}.weight"] = (matrix, (blocks, step), (terms, nodes), True)
        self.views[f"{name}.bias"] = (bias, (1, step), (1, nodes), False)
        source = (self.tiles[i], self.widths[i])
        return (
            (*source, terms, matrix, step, bias, self.tiles[i + 1], width),
            (*source, terms, blocks, self._slopes_of(i), width, matrix, step,
             bias if i else -1),
        )  # fmt: skip

    def _turn(self, i: int, forward: np.void) -> tuple[int, ...]:
        result, step = self.turned, _step(self.widths[i])
        self.turned += _up(self.nodes[i + 1], LANES) * step
        matrix, matrix_step = int(forward["matrix"]), int(forward["matrix_step"])
        return (matrix, matrix_step, self.nodes[i], self.nodes[i + 1], result, step)

    def _backward(self, i: int, turn: np.void) -> tuple[int, ...]:
        result, step = int(turn["result"]), int(turn["result_step"])
        return (
            self._slopes_of(i), self.widths[i + 1], self.nodes[i + 1],
            result, step, -1, self._slopes_of(i - 1), self.widths[i],
        )  # fmt: skip

    def _last(self) -> tuple[int, ...]:
        i = len(self.nodes) - 2
        terms, outputs, width = self.nodes[i], self.nodes[i + 1], self.widths[i]
        matrix = self._place(outputs, width)
        bias = self._place(1, outputs)
        name = f"net.{2 * i}"
        shapes = (outputs, width), (outputs, terms)
        self.views[f"{name}.weight"] = (matrix, *shapes, False)
        self.views[f"{name}.bias"] = (bias, (1, outputs), (1, outputs), False)
        slopes = self._slopes_of(i - 1) if i else -1
        return (self.tiles[i], width, terms, matrix, outputs, bias, slopes)
