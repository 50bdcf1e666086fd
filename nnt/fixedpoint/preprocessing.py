"""Network inputs from a track and its segments (``updateTrackFix`` of BASF2)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from nnt.detector import (
    ALPHA_SCALE,
    ID_RANGES,
    N_INPUTS,
    N_SUPERLAYERS,
    SUPERLAYERS,
    T_MAX_TICKS,
    id_scaling,
)
from nnt.errors import DataError
from nnt.fixedpoint.integers import EXACT, float32, round_half_away
from nnt.networks import DEFAULT_PRECISION, check_precision
from nnt.types import F32, F64, I64

N_WIRES = np.array([layer.n_wires for layer in SUPERLAYERS], dtype=np.float64)
OFFSETS = np.array([layer.segment_offset for layer in SUPERLAYERS], dtype=np.int64)
RADII_CM = np.array([layer.radius_cm for layer in SUPERLAYERS])

SHIFT_OF_PRIORITY = np.array([0.0, -0.5, 0.5, 0.0])
"""Wires by which a second priority wire lies beside the first priority one."""
SIGN_OF_LEFT_RIGHT = np.array([0.0, -1.0, 1.0, 0.0])
"""Sign of the drift time: unknown, right, left, undetermined."""
FIRST_PRIORITY = 3

TEXT_DIGITS = 6
FINEST_GRID = 2.0**13
"""Steps per unit of the finest grid: half of a crossing angle of 12 bits."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Segments:
    """The selected track segment of each superlayer; int64 arrays of (N, 9)."""

    segment: I64
    """Number in the count over all superlayers; -1 where there is none."""
    priority: I64
    """0 none, 1 second right, 2 second left, 3 first."""
    left_right: I64
    """0 none, 1 right, 2 left, 3 undetermined."""
    time_ticks: I64
    """Time of the priority wire."""


def classic_inputs(
    phi0_rad: npt.ArrayLike,
    omega_per_cm: npt.ArrayLike,
    segments: Segments,
    event_time_ticks: npt.ArrayLike,
    precision: Sequence[int] = DEFAULT_PRECISION,
    *,
    id_ranges: Sequence[tuple[float, float]] = ID_RANGES,
    t_max_ticks: int = T_MAX_TICKS,
) -> F32:
    """The 27 inputs of the integer chain.

    Parameters
    ----------
    phi0_rad, omega_per_cm : array_like, shape (N,)
        Azimuth and signed curvature of the 2D tracks.
    segments : Segments
        The segments that were selected, at most one per superlayer.
    event_time_ticks : array_like, shape (N,)
        Event time; NaN where there is none, which makes all drift times 0.
    precision : sequence of 6 int
        Fractional bits, see `DEFAULT_PRECISION`.
    id_ranges : sequence of 9 (float, float)
        relID window of each superlayer, in wires.
    t_max_ticks : int
        Drift times are clamped to ``[0, t_max_ticks]``.

    Returns
    -------
    float32 array, shape (N, 27)
        relID, drift time and crossing angle of each superlayer, scaled;
        zeros where there is no segment.

    Raises
    ------
    DataError
        Shapes do not fit, codes are none, or numbers are not finite.
    """
    bits = check_precision(precision)
    alpha, reference_id = crossings(phi0_rad, omega_per_cm, bits)
    event_time = np.asarray(event_time_ticks, dtype=np.float64)
    _check_segments(segments, event_time, len(alpha))
    inputs = np.empty((len(event_time), N_SUPERLAYERS, 3))
    scalings = [id_scaling(lower, upper) for lower, upper in id_ranges]
    offset = np.array([s.offset for s in scalings])
    rel_ids = relative_ids(reference_id, segments, bits)
    inputs[..., 0] = np.array([s.scale for s in scalings]) * (rel_ids - offset)
    inputs[..., 1] = _drift_times(segments, event_time, t_max_ticks)
    inputs[..., 2] = ALPHA_SCALE * _of_layer_hit(alpha, segments) / 2.0 ** bits[0]
    inputs[segments.segment < 0] = 0
    return inputs.reshape(-1, N_INPUTS).astype(np.float32)


def crossings(
    phi0_rad: npt.ArrayLike, omega_per_cm: npt.ArrayLike, bits: Sequence[int]
) -> tuple[I64, I64]:
    """Where tracks cross the first and second priority layers: two (N, 9, 2) arrays.

    The crossing angle, times ``2**bits[0]``, in rad, and the reference ID, times
    ``2**bits[2]``, in wires.
    """
    phi0 = np.asarray(phi0_rad, dtype=np.float64)
    omega = np.asarray(omega_per_cm, dtype=np.float64)
    if phi0.ndim != 1 or phi0.shape != omega.shape:
        raise DataError(
            f"phi0, omega: expected equal shapes (N,), found {phi0.shape} and "
            f"{omega.shape}"
        )
    if not (np.isfinite(phi0).all() and np.isfinite(omega).all()):
        raise DataError("phi0, omega: expected finite numbers")
    sine = RADII_CM * omega[:, None, None] / 2
    # A track that curls up before the layer gets +pi/2, whatever its charge.
    angle = np.where(np.abs(sine) < 1, np.arcsin(np.clip(sine, -1, 1)), math.pi / 2)
    alpha = round_half_away(angle * 2.0 ** bits[0])
    phi = round_half_away(phi0 * 2.0 ** bits[0])[:, None, None]
    to_wires = round_half_away(N_WIRES / (2 * math.pi) * 2.0 ** bits[1])[:, None]
    products = (phi - alpha) * to_wires
    if np.abs(products).max(initial=0) >= EXACT:
        raise DataError(
            f"precision: products of {bits[0]} bits (phi) and {bits[1]} (factor) may "
            "reach 2**53; use fewer"
        )
    reference_id = np.trunc(products / 2.0 ** (bits[0] + bits[1] - bits[2]))
    return alpha.astype(np.int64), reference_id.astype(np.int64)


def relative_ids(reference_id: I64, segments: Segments, bits: Sequence[int]) -> F64:
    """Distance of each segment from the reference ID in wires, shape (N, 9).

    It is within half a turn, and 0 where there is no segment.
    """
    reference = _of_layer_hit(reference_id, segments) / 2.0 ** bits[2]
    distance = segments.segment - OFFSETS - reference
    distance += SHIFT_OF_PRIORITY[segments.priority]
    distance -= np.rint(distance / N_WIRES) * N_WIRES
    return np.where(segments.segment >= 0, distance, 0.0)


def _of_layer_hit(values: I64, segments: Segments) -> I64:
    first = segments.priority == FIRST_PRIORITY
    chosen: I64 = np.where(first, values[..., 0], values[..., 1])
    return chosen


def _drift_times(segments: Segments, event_time: F64, t_max_ticks: int) -> F64:
    ticks = np.clip(segments.time_ticks - event_time[:, None], 0, t_max_ticks)
    signed = SIGN_OF_LEFT_RIGHT[segments.left_right] * ticks
    scale = 2.0 ** math.floor(math.log2(1 / t_max_ticks))
    # An unknown event time is NaN, and so is every difference from it.
    return np.nan_to_num(signed, nan=0.0) * scale


def _check_segments(segments: Segments, event_time: F64, n_tracks: int) -> None:
    if event_time.shape != (n_tracks,):
        raise DataError(
            f"event time: expected shape ({n_tracks},), found {event_time.shape}"
        )
    for name in ("segment", "priority", "left_right", "time_ticks"):
        found = getattr(segments, name)
        if found.shape != (n_tracks, N_SUPERLAYERS):
            raise DataError(
                f"segments: {name}: expected shape ({n_tracks}, {N_SUPERLAYERS}), "
                f"found {found.shape}"
            )
        is_code = name in ("priority", "left_right")
        if is_code and ((found < 0) | (found > 3)).any():
            raise DataError(f"segments: {name}: expected codes 0 to 3")


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
    value = float32(inputs).astype(np.float64)
    size = np.abs(value)
    decade = np.floor(np.log10(np.where(size > 0, size, 1.0)))
    half_digit = 0.5 * 10.0 ** (decade - (TEXT_DIGITS - 1))
    tolerance = half_digit + size * 2.0**-24
    grid = np.rint(value * FINEST_GRID) / FINEST_GRID
    near = np.abs(value - grid) <= tolerance
    snapped: F32 = np.where(near, grid, value).astype(np.float32)
    return snapped
