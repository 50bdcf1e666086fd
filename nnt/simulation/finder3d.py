"""The 3D finder: the cell of its Hough space that a row's segments agree on.

Cells, and what makes a track of one: ``NDFinder`` and ``CDCTriggerNDFinder`` of basf2.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from nnt.detector import OMEGA_CM_TIMES_PT_GEV, SUPERLAYERS, Superlayer
from nnt.simulation.finder import crossing_angle, fit_segments
from nnt.simulation.parameters import Simulation
from nnt.simulation.segments import Hits, Segments, crossing, strange_wire
from nnt.types import F64, BoolArray

MAX_INVERSE_PT = 4.0
N_OMEGA, N_PHI, N_COT = 40, 384, 9
OMEGA_CELL = 2 * MAX_INVERSE_PT / N_OMEGA * OMEGA_CM_TIMES_PT_GEV
"""In curvature, 1/cm."""
PHI_CELL_RAD = 2 * np.pi / N_PHI
COT_RANGE = (-1.0061730449796316, 2.3849627654510415)
COT_CELL = (COT_RANGE[1] - COT_RANGE[0]) / N_COT
COT_CENTRES = np.array([COT_RANGE[0] + COT_CELL * (i + 0.5) for i in range(N_COT)])


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
