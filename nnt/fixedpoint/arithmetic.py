"""Rounding, exact integer layers and checks that both chains share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from nnt.errors import DataError
from nnt.types import F32, F64, I64, BoolArray, FloatArray

Layers = Sequence[tuple[npt.ArrayLike, npt.ArrayLike]]
"""Weights (out, in) and biases (out,) of each layer."""

CHUNK = 1024
"""Rows at a time: 1024 x 81 sums stay in the cache of one core."""

EXACT = float(2**53)
"""Below it a float64 holds every integer, so sums of integers are exact."""

TEXT_DIGITS = 6
FINEST_GRID = 2.0**13
"""Steps per unit of the finest grid: half of a crossing angle of 12 bits."""


@dataclass(frozen=True, slots=True)
class Arithmetic:
    """What a chain makes of inputs, weights and sums."""

    weight_bits: int
    """Fractional bits of the weights."""
    node_bits: int
    to_nodes: Callable[[F64], F64]
    """Takes float64 inputs to integer nodes."""
    activate: Callable[[F64], F64]
    """Takes integer sums to integer nodes."""
    largest_node: int
    """That of the end of the table."""
    wraps: Callable[[F64], BoolArray] | None = None
    """Whether sums do not fit into their word; None where all do."""
    per_bin: float = 1.0
    """A power of two, by which sums are multiplied before they are activated."""


@dataclass(frozen=True, slots=True, eq=False)
class Computed:
    """What integer layers make of N rows."""

    outputs: I64  # (N, n_out)
    saturated_share: F64
    """Shape (N,): hidden nodes at the end of the table; 0 without hidden nodes."""
    wrapped_share: F64
    """Shape (N,): sums of all layers that wrap."""


def round_half_away(value: F64) -> F64:
    """Round as C does: halves away from zero."""
    whole = np.trunc(value)
    rounded: F64 = whole + np.copysign(np.abs(value - whole) >= 0.5, value)
    return rounded


def checked_layers(layers: Layers) -> list[tuple[F64, F64]]:
    """Round weights to float32, in which BASF2 holds them, and check the shapes.

    Raises
    ------
    DataError
        A layer is not (out, in) weights and (out,) biases, does not follow
        the one before it, or holds a number that is not finite.
    """
    if not layers:
        raise DataError("layers: expected at least one pair of weights and biases")
    checked: list[tuple[F64, F64]] = []
    for i, layer in enumerate(layers):
        w, b = (_float32(part).astype(np.float64) for part in layer)
        if w.ndim != 2 or b.shape != w.shape[:1]:
            raise DataError(
                f"layer {i}: expected weights (out, in) and biases (out,), found "
                f"shapes {w.shape} and {b.shape}"
            )
        if checked and w.shape[1] != len(checked[-1][1]):
            raise DataError(
                f"layer {i}: expected {len(checked[-1][1])} inputs as the layer "
                f"before has outputs, found {w.shape[1]}"
            )
        if not (np.isfinite(w).all() and np.isfinite(b).all()):
            raise DataError(f"layer {i}: expected finite weights and biases")
        checked.append((w, b))
    return checked


def _checked_inputs(inputs: npt.ArrayLike, size: int) -> F32:
    x = _float32(inputs)
    if x.ndim != 2 or x.shape[1] != size:
        raise DataError(f"inputs: expected shape (N, {size}), found {x.shape}")
    if not np.isfinite(x).all():
        raise DataError("inputs: expected finite numbers; drop the rows without")
    return x


def whole_numbers(value: FloatArray, bits: int) -> I64:
    """Round to integers with so many fractional bits, halves away from zero."""
    return round_half_away(value.astype(np.float64) * 2.0**bits).astype(np.int64)


def run_layers(
    inputs: npt.ArrayLike,
    layers: Sequence[tuple[F64, F64]],
    arithmetic: Arithmetic,
) -> Computed:
    """Run integer layers in chunks.

    Parameters
    ----------
    inputs : array_like, shape (N, n_in)
        Scaled.
    layers : sequence of (weight, bias)
        As `checked_layers` gives them.
    arithmetic : Arithmetic
        Of the chain.

    Raises
    ------
    DataError
        Inputs do not fit, or a sum may reach 2**53, so that it could be wrong.
    """
    x = _checked_inputs(inputs, layers[0][0].shape[1])
    units, per_bin = 2.0**arithmetic.weight_bits, arithmetic.per_bin
    # Powers of two scale exactly. A bias of +0 also turns a sum of -0 into +0, whose
    # sign is plus.
    whole = [
        (
            round_half_away(w * units).T * per_bin,
            round_half_away(b * units) * 2.0**arithmetic.node_bits * per_bin + 0.0,
        )
        for w, b in layers
    ]
    outputs = np.empty((len(x), len(layers[-1][1])), np.int64)
    saturated, wrapped = np.zeros((2, len(x)))
    for start in range(0, len(x), CHUNK):
        rows = slice(start, start + CHUNK)
        nodes = arithmetic.to_nodes(x[rows].astype(np.float64))
        largest = float(np.abs(nodes).max(initial=0))
        for i, (weight, bias) in enumerate(whole):
            bound = np.abs(weight).sum(axis=0) * largest + np.abs(bias)
            if (reached := bound.max(initial=0) / per_bin) >= EXACT:
                raise DataError(
                    f"layer {i}: sums may reach {reached:.3g}, expected below 2**53; "
                    "use smaller weights or fewer fractional bits"
                )
            sums = nodes @ weight
            sums += bias
            if arithmetic.wraps is not None:
                wrapped[rows] += arithmetic.wraps(sums).sum(axis=1)
            nodes = arithmetic.activate(sums)
            largest = arithmetic.largest_node
            if i < len(whole) - 1:
                saturated[rows] += (np.abs(nodes) >= largest).sum(axis=1)
        outputs[rows] = nodes
    n_nodes = sum(len(bias) for _, bias in whole)
    n_hidden = max(n_nodes - outputs.shape[1], 1)
    return Computed(outputs, saturated / n_hidden, wrapped / n_nodes)


def snap_text_inputs(inputs: npt.ArrayLike) -> F32:
    """Move inputs read from text to the grid point that was printed.

    Text files hold six significant digits: 253/256 = 0.98828125 is printed
    as 0.988281, and truncation to 12 bits would yield 4047 instead of 4048.

    Parameters
    ----------
    inputs : array_like, shape (N, n_in)

    Returns
    -------
    float32 array, same shape
        Values that a multiple of 2**-13 may have been printed as become that
        multiple; others, from floating-point preprocessing, stay.

    Notes
    -----
    Drift times are multiples of 2**-8, scaled relIDs of 2**-11, hardware
    words of 2**-12 and half crossing angles of 2**-13: one grid holds all. A
    value off the grid is taken for one on it in less than 1 % of the cases
    below 1 and then moves by less than the text resolves.

    Examples
    --------
    >>> float(snap_text_inputs([[0.988281]])[0, 0])
    0.98828125
    """
    value = _float32(inputs).astype(np.float64)
    size = np.abs(value)
    decade = np.floor(np.log10(np.where(size > 0, size, 1.0)))
    half_digit = 0.5 * 10.0 ** (decade - (TEXT_DIGITS - 1))
    tolerance = half_digit + size * 2.0**-24
    grid = np.rint(value * FINEST_GRID) / FINEST_GRID
    near = np.abs(value - grid) <= tolerance
    snapped: F32 = np.where(near, grid, value).astype(np.float32)
    return snapped


@np.errstate(over="ignore")
def _float32(value: npt.ArrayLike) -> F32:
    return np.asarray(value, dtype=np.float32)
