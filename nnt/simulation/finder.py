"""The 2D finder: curvature and azimuth of a row from its axial track segments."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from nnt.detector import ID_RANGES, OMEGA_CM_TIMES_PT_GEV, SUPERLAYERS, Superlayer
from nnt.simulation.parameters import Simulation
from nnt.simulation.population import Helices, Rows
from nnt.simulation.segments import Hits, Segments, strange_wire
from nnt.types import F64, I64, BoolArray

OMEGA_STEP_PER_CM = OMEGA_CM_TIMES_PT_GEV / 0.3 / 34
PHI_STEPS = 320
PHI_STEP_RAD = 2 * np.pi / PHI_STEPS
"""Steps of the 2D track's words (``trg/cdc`` of basf2)."""
MAX_OMEGA_COUNT = 34
MIN_COSINE = 0.2
"""Of the crossing angle: a track that hardly reaches a layer does not count there."""


@dataclass(frozen=True, slots=True)
class Found:
    """2D tracks as the finder's words hold them, shape (M,) each."""

    omega_count: I64
    phi_count: I64


def find_tracks(
    s: Simulation,
    h: Helices,
    rows: Rows,
    axial: Sequence[Hits],
    rng: np.random.Generator,
) -> Found:
    """Give each row the curvature and azimuth that the finder sees, by axial hits."""
    n = len(rows.helix)
    # A track beside the beam axis looks like one from it with another direction.
    inner_cm, outer_cm = s.finder_radius_cm
    omega = h.omega_per_cm + 2 * h.d0_cm / (inner_cm * outer_cm)
    phi = h.phi_rad + h.d0_cm * (1 / inner_cm + 1 / outer_cm)
    omega, phi = omega[rows.helix], phi[rows.helix]
    by_phi, by_omega = fit_segments(
        h.omega_per_cm[rows.helix],
        [part.error for part in axial],
        [part.found for part in axial],
    )
    phi = phi + s.finder_follows * by_phi
    omega = omega + s.finder_follows * by_omega
    stray = rng.random(n) < s.stray_row_share
    omega_std = np.where(stray, s.omega_std_stray_per_cm, s.omega_std_per_cm)
    omega_error = omega_std * rng.standard_normal(n)
    phi += omega_error * (s.pivot_radius_cm / 2)
    phi += s.phi_bias_rad + s.phi_std_rad * rng.standard_normal(n)
    omega = omega * s.omega_factor + omega_error
    same = rng.random(n) < s.same_track_share
    chosen = np.where(same, rows.first, np.arange(n))
    return Found(
        omega_count=np.rint(omega / OMEGA_STEP_PER_CM).astype(np.int64)[chosen],
        phi_count=np.rint(phi / PHI_STEP_RAD).astype(np.int64)[chosen],
    )


def fit_segments(
    omega: F64, error: Sequence[F64], found: Sequence[BoolArray]
) -> tuple[F64, F64]:
    """Least squares of azimuth and curvature to the axial segments of each row.

    Parameters
    ----------
    omega : float64 array, shape (M,)
        Curvature near which the fit is linear, in 1/cm.
    error : sequence of float64 arrays, shape (M,) each
        Wires between the segment of SL0, 2, 4, 6, 8 and that track.
    found : sequence of bool arrays, shape (M,) each
        Which of them the row has.
    """
    sums = np.zeros((5, len(omega)))
    for sl, wires, present in zip(SUPERLAYERS[::2], error, found, strict=True):
        half_radius = sl.radius_cm[0] / 2
        cosine = np.sqrt(np.maximum(1 - (half_radius * omega) ** 2, MIN_COSINE**2))
        slope = -half_radius / cosine
        # All superlayers err by a part of a wire: weights in wires, not in angles.
        wires_per_rad = sl.n_wires / (2 * np.pi)
        weight = present * wires_per_rad**2
        value = np.where(present, wires / wires_per_rad, 0.0)
        one = np.ones_like(slope)
        terms = (one, slope, slope * slope, value, slope * value)
        for total, term in zip(sums, terms, strict=True):
            total += weight * term
    n, x, xx, y, xy = sums
    determinant = np.maximum(n * xx - x * x, 1e-9)
    return (xx * y - x * xy) / determinant, (n * xy - x * y) / determinant


def crossing_angle(half_chord: F64) -> F64:
    """Angle at which circles cross a layer; a right one where they do not reach it."""
    inside = np.abs(half_chord) < 1
    return np.where(inside, np.arcsin(np.clip(half_chord, -1, 1)), np.pi / 2)


def _alpha_table(sl: Superlayer) -> F64:
    """Crossing angle by layer and curvature count, shape (2, 2 * max + 1)."""
    counts = np.arange(-MAX_OMEGA_COUNT, MAX_OMEGA_COUNT + 1)
    return crossing_angle(np.outer(sl.radius_cm, counts * OMEGA_STEP_PER_CM) / 2)


ALPHA_TABLES = [_alpha_table(sl) for sl in SUPERLAYERS]


def make_segments(index: int, hits: Hits, found: Found) -> Segments:
    """Place the segments of one superlayer relative to the 2D tracks."""
    sl, (lower, upper) = SUPERLAYERS[index], ID_RANGES[index]
    count = np.clip(found.omega_count, -MAX_OMEGA_COUNT, MAX_OMEGA_COUNT)
    alpha = ALPHA_TABLES[index][hits.second.astype(np.int64), count + MAX_OMEGA_COUNT]
    wires_per_rad = sl.n_wires / (2 * np.pi)
    # Where the 2D track meets the layer.
    place = found.phi_count * (sl.n_wires / PHI_STEPS) - alpha * wires_per_rad
    wire = hits.wire
    if sl.is_stereo:
        strange = strange_wire(index, place, hits.anywhere, hits.second)
        wire = np.where(hits.wrong, strange, wire)
    rel_id = wire - place
    seen = hits.found & (rel_id >= lower) & (rel_id <= upper)
    return Segments(seen=seen, rel_id=rel_id, alpha_rad=alpha)
