"""Inputs in which a network is trained, and the way back to those that it is given.

The inputs of a track depend on each other: what tells z is by how little the wires that
were hit differ from those of the 2D track, a hundredth of the range of an input.
Steps of equal size in all weights, as optimisers take them, are far too small in such
directions. So a network can be trained on combinations of its inputs that do not depend
on each other and vary all alike. The first layer takes the combination in at the end:
what comes out is a network of the usual inputs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from nnt.networks import Form, State
from nnt.types import F32, F64

MAX_ROWS = 1 << 17
"""As many tell how inputs depend on each other."""
STEPS = 1 << 12
"""Of one unit of an input, in whole numbers of which sums are exact."""
FLOOR = 3e-3
"""Added to the variance in every direction, (0.055)**2 of the range of an input.
Directions that vary by less are taken for noise."""
RIDGE = 1e-9
"""Of the variance, so that inputs which never vary do no harm."""
WORDS = 1 << 10
"""Of one unit of a weight: those that had to be changed are words of the firmware."""
DIGITS = 4
"""Significant digits that are kept: those in which all machines agree."""
BLOCK = 1 << 12
"""Rows whose inputs fit a cache."""


@dataclass(frozen=True, slots=True, eq=False)
class Whitening:
    """``u = (x - mean) @ matrix`` in place of the inputs x.

    Examples
    --------
    >>> x = np.array([[0, 0], [1, 1], [0, 1], [1, 0]], dtype=np.float32)
    >>> Whitening.of(x, 2.0, Form(inputs=2)).inputs(x)[0]
    array([-1.988, -1.988], dtype=float32)
    """

    mean: F64
    """Shape (inputs,)."""
    matrix: F64
    """Shape (inputs, inputs), symmetric."""
    covariance: F64
    """Of the inputs, shape (inputs, inputs)."""
    form: Form
    """Of the network."""
    largest: float = math.inf
    """No weight of an input is beyond it."""

    @classmethod
    def of(
        cls, x: F32, width: float, form: Form, largest: float = math.inf
    ) -> Whitening:
        """Find it for rows to train on.

        Parameters
        ----------
        x : float32 array, shape (N, inputs)
            N is at least 1.
        width : float
            Standard deviation that each combination of inputs gets.
        form : Form
            Of the network.
        largest : float
            Limit on its weights for the usual inputs.
        """
        some = x[:: -(-len(x) // MAX_ROWS)]
        # Sums of whole numbers are exact, in whatever order they are taken.
        whole = np.rint(some.astype(np.float64) * STEPS)
        mean = whole.mean(axis=0)
        covariance = whole.T @ whole / len(whole) - np.outer(mean, mean)
        variance, axes = np.linalg.eigh(covariance / STEPS**2)
        scales = width / np.sqrt(np.maximum(variance, 0) + FLOOR)
        # An input that never varies is left alone: there is nothing to learn from it.
        varies = covariance.diagonal() > 0
        matrix = np.where(np.outer(varies, varies), (axes * scales) @ axes.T, 0.0)
        matrix[~varies, ~varies] = width
        covariance /= STEPS**2
        return cls(_rounded(mean / STEPS), _rounded(matrix), covariance, form, largest)

    def inputs(self, x: F32) -> F32:
        """Combine the inputs of rows, shape (N, inputs)."""
        result = np.empty_like(x, order="C")
        matrix, mean = self.matrix.astype(np.float32), self.mean.astype(np.float32)
        for start in range(0, len(x), BLOCK):
            columns = np.ascontiguousarray((x[start : start + BLOCK] - mean).T)
            total = np.zeros_like(columns)
            # Term by term: libraries add in another order on every machine.
            for column, factors in zip(columns, matrix, strict=True):
                total += factors[:, None] * column
            result[start : start + BLOCK] = total.T
        return result

    def taken_in(self, state: State) -> State:
        """Weights for the usual inputs, from those for the combined ones."""
        weight, bias = self._first_layer(state)
        usual = weight @ self.matrix.T
        return self._with(state, usual, bias - usual @ self.mean)

    def taken_out(self, state: State) -> State:
        """The inverse of `taken_in`, but for rounding."""
        weight, bias = self._first_layer(state)
        combined = np.linalg.solve(self.matrix, weight.T).T.astype(np.float64)
        return self._with(state, combined, bias + weight @ self.mean)

    def limited(self, state: State) -> State:
        """Weights for the usual inputs, those of the first layer within the limit.

        Only inputs that hardly differ from each other, as the crossing angles do, get
        weights beyond that of the firmware's words. Other weights add up to nearly the
        same sums: those of least squared change, averaged over the rows that the
        whitening was found on.
        """
        from scipy.optimize import lsq_linear

        usual, bias = self._first_layer(state)
        nodes = np.flatnonzero(np.abs(usual).max(axis=1) > self.largest)
        if not len(nodes):
            return state
        root = np.linalg.cholesky(self.covariance + RIDGE * np.eye(len(self.mean))).T
        changed, bounds = usual.copy(), (-self.largest, self.largest)
        for node in nodes:
            found = lsq_linear(root, root @ usual[node], bounds, method="bvls").x
            changed[node] = np.rint(found * WORDS) / WORDS
        return self._with(state, changed, bias + (usual - changed) @ self.mean)

    def within(self, state: State) -> State:
        """Weights for the combined inputs whose usual ones are `limited`."""
        usual = self.taken_in(state)
        limited = self.limited(usual)
        return state if limited is usual else self.taken_out(limited)

    def _first_layer(self, state: State) -> tuple[F64, F64]:
        weight, bias = (state[name] for name in self.form.layers[0].shapes)
        return weight.astype(np.float64), bias.astype(np.float64)

    def _with(self, state: State, weight: F64, bias: F64) -> State:
        """Replace the first layer, rounded to float32."""
        names, values = self.form.layers[0].shapes, (weight, bias)
        return state | {
            n: v.astype(np.float32) for n, v in zip(names, values, strict=True)
        }


def _rounded(values: F64) -> F64:
    """Keep the first digits of every number."""
    size = np.maximum(np.abs(values), np.abs(values).max(initial=1e-30) * 1e-6)
    unit = 10.0 ** (np.floor(np.log10(size)) - DIGITS + 1)
    result: F64 = np.rint(values / unit) * unit
    return result
