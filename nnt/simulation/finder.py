"""The track finders: where a row's segments say that its track runs.

The 2D finder of the classic chain gives a row curvature and azimuth by its axial
segments. The 3D finder takes the cell of its Hough space that all segments agree on;
cells, and what makes a track of one: ``NDFinder`` and ``CDCTriggerNDFinder`` of basf2.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from nnt.detector import ID_RANGES, OMEGA_CM_TIMES_PT_GEV, SUPERLAYERS, Superlayer
from nnt.simulation.parameters import Simulation
from nnt.simulation.population import Helices, Rows
from nnt.simulation.segments import Hits, Segments, crossing, strange_wire
from nnt.types import F64, I64, BoolArray

OMEGA_STEP_PER_CM = OMEGA_CM_TIMES_PT_GEV / 0.3 / 34
PHI_STEPS = 320
PHI_STEP_RAD = 2 * np.pi / PHI_STEPS
"""Steps of the 2D track's words (``trg/cdc`` of basf2)."""
MAX_OMEGA_COUNT = 34
MIN_COSINE = 0.2
"""Of the crossing angle: a track that hardly reaches a layer does not count there."""

MAX_INVERSE_PT = 4.0
N_OMEGA, N_PHI, N_COT = 40, 384, 9
OMEGA_CELL = 2 * MAX_INVERSE_PT / N_OMEGA * OMEGA_CM_TIMES_PT_GEV
"""In curvature, 1/cm."""
PHI_CELL_RAD = 2 * np.pi / N_PHI
COT_RANGE = (-1.0061730449796316, 2.3849627654510415)
COT_CELL = (COT_RANGE[1] - COT_RANGE[0]) / N_COT
COT_CENTRES = np.array([COT_RANGE[0] + COT_CELL * (i + 0.5) for i in range(N_COT)])


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


@dataclass(frozen=True, slots=True)
class Seeds:
    """Helices from the beam axis near which a row's segments lie, shape (M,) each."""

    phi_rad: F64
    omega_per_cm: F64


@dataclass(frozen=True, slots=True)
class Track3D:
    """What the finder makes of each row, shape (M,) each."""

    phi_rad: F64
    omega_per_cm: F64
    cotangent: F64
    """Centre of its cell, as the two above."""
    is_track: BoolArray
    """Whether it lies in the Hough space and has segments enough."""
    segments: list[Segments]
    """Of SL0 to SL8; seen are those that belong to the cell."""


def find_tracks_3d(
    s: Simulation, seeds: Seeds, hits: Sequence[Hits], rng: np.random.Generator
) -> Track3D:
    """Find the cell of each row, and the segments that belong to it.

    Azimuth and curvature are those of a least-squares fit to the axial segments, but
    for the rows of a side peak. Then each stereo segment counts in each cell of the
    cotangent for 1 at most, the less the farther it lies from where a track from the
    collision point would pass; the cell with the largest sum is taken.
    The fit is linear, so that the seeds of the rows are to be near.
    """
    phi, omega = _fitted(seeds, hits[::2])
    stray = rng.random(len(phi)) < s.stray_row_share
    error = stray * s.omega_std_stray_per_cm * rng.standard_normal(len(phi))
    count = np.floor((omega + error) / OMEGA_CELL)
    inside = (count >= -N_OMEGA / 2) & (count < N_OMEGA / 2)
    centre = (count + 0.5) * OMEGA_CELL
    # Of the cells of a curvature, the one that the track meets in the middle.
    phi = phi + s.pivot_radius_cm / 2 * (centre - omega)
    phi = (np.floor(phi / PHI_CELL_RAD) + 0.5) * PHI_CELL_RAD
    layers = [
        (sl, _with_strange_wires(sl, part, phi, centre))
        for sl, part in zip(SUPERLAYERS, hits, strict=True)
    ]
    sums = [
        np.sum([_share(s, *layer, phi, centre, cot) for layer in layers[1::2]], axis=0)
        for cot in COT_CENTRES
    ]
    cot: F64 = COT_CENTRES[np.argmax(sums, axis=0)]
    seen = np.array([_share(s, *layer, phi, centre, cot) > 0 for layer in layers])
    enough = seen[::2].sum(axis=0) >= s.finder3d_axial
    enough &= seen[1::2].sum(axis=0) >= s.finder3d_stereo
    segments = []
    for belongs, (sl, part) in zip(seen, layers, strict=True):
        rel_id = _turned(sl, part.wire - _axial_place(sl, part.second, phi, centre))
        segments.append(Segments(belongs, rel_id, _alpha(sl, part.second, centre)))
    return Track3D(phi, centre, cot, is_track=inside & enough, segments=segments)


def _fitted(seeds: Seeds, axial: Sequence[Hits]) -> tuple[F64, F64]:
    phi, omega = seeds.phi_rad, seeds.omega_per_cm
    errors = [
        _turned(sl, part.wire - _axial_place(sl, part.second, phi, omega))
        for sl, part in zip(SUPERLAYERS[::2], axial, strict=True)
    ]
    by_phi, by_omega = fit_segments(omega, errors, [part.found for part in axial])
    return phi + by_phi, omega + by_omega


def _alpha(sl: Superlayer, second: BoolArray, omega: F64) -> F64:
    return crossing_angle(np.where(second, *sl.radius_cm[::-1]) * omega / 2)


def _axial_place(sl: Superlayer, second: BoolArray, phi: F64, omega: F64) -> F64:
    """Reference of the relID, in wires: where a track would cross axial wires."""
    return (phi - _alpha(sl, second, omega)) * (sl.n_wires / (2 * np.pi))


def _with_strange_wires(sl: Superlayer, part: Hits, phi: F64, omega: F64) -> Hits:
    """Place segments of something else in stereo layers anywhere in the window."""
    if not sl.is_stereo:
        return part
    place = _axial_place(sl, part.second, phi, omega)
    strange = strange_wire(sl.index, place, part.anywhere, part.second)
    return replace(part, wire=np.where(part.wrong, strange, part.wire))


def _reach(s: Simulation, sl: Superlayer) -> float:
    """Wires from the centre of a cell within which a segment belongs to it."""
    across = PHI_CELL_RAD / 2 + sl.radius_cm[0] / 2 * OMEGA_CELL / 2
    reach: float = s.finder3d_reach_wires + sl.n_wires / (2 * np.pi) * across
    if sl.is_stereo:
        length = sl.z_forward_cm[0] - sl.z_backward_cm[0]
        along = sl.radius_cm[0] * COT_CELL / 2 / length
        reach += abs(sl.shift_half_cells) / 2 * along
    return reach


def _share(
    s: Simulation, sl: Superlayer, part: Hits, phi: F64, omega: F64, cotangent: F64
) -> F64:
    """How much segments count in cells: 1 in the centre, 0 beyond their reach."""
    there = part.found
    if sl.is_stereo:
        first, second = (
            crossing(sl, layer, 0.0, cotangent, phi, omega) for layer in (0, 1)
        )
        place = np.where(part.second, second[0], first[0])
        there = there & np.where(part.second, second[2], first[2])
    else:
        place = _axial_place(sl, part.second, phi, omega)
    near: F64 = np.maximum(
        1 - np.abs(_turned(sl, part.wire - place)) / _reach(s, sl), 0
    )
    return near * there


def _turned(sl: Superlayer, wires: F64) -> F64:
    """Differences of wires, within half a turn."""
    return np.remainder(wires + sl.n_wires / 2, sl.n_wires) - sl.n_wires / 2
