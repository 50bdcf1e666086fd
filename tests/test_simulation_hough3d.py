"""Simulated rows of the 3D Hough chain, against slow plain geometry."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from nnt.cli import main
from nnt.detector import (
    HOUGH3D,
    ID_RANGES,
    OMEGA_CM_TIMES_PT_GEV,
    SUPERLAYERS,
    Superlayer,
    id_scaling,
)
from nnt.simulation import Simulation, rows, simulate, simulate_with
from nnt.simulation.finder import Seeds, Track3D, find_tracks_3d
from nnt.simulation.parameters import PerSuperlayer
from nnt.simulation.population import Helices, Rows, make_helices
from nnt.simulation.segments import Hits, crossing, make_hits, make_pattern
from nnt.tracks import Tracks, read_tracks

N_ROWS = 6_000
NONE: PerSuperlayer = (0.0,) * 9
CLEAN = Simulation(
    collision_wrong_share=NONE,
    crowd_wrong_share=NONE,
    background_wrong_share=NONE,
    background_scatter_wires=NONE,
    segment_neighbour_share=NONE,
    segment_shift_wires=NONE,
    same_segment_share=0.0,
    pattern_missing_share=0.0,
    pattern_noise_share=0.0,
    stray_row_share=0.0,
)
"""Tracks that pass where their segments are, and nothing else."""
NEAR_THE_AXIS = dataclasses.replace(CLEAN, background_d0_std_cm=(0.3,) * 7)


@pytest.fixture(scope="module")
def tracks() -> Tracks:
    return simulate(N_ROWS, seed=3, chain="3dh", inputs=126)


# The chain


def test_the_same_rows_have_27_and_126_inputs(tracks: Tracks) -> None:
    fewer = simulate(N_ROWS, seed=3, chain="3dh")
    assert fewer.chain is tracks.chain is HOUGH3D
    assert (fewer.inputs.shape, tracks.inputs.shape) == ((N_ROWS, 27), (N_ROWS, 126))
    np.testing.assert_array_equal(
        fewer.inputs_by_superlayer, tracks.inputs_by_superlayer[:, :, :3]
    )
    for name in ("targets", "classes", "track_type", "ids"):
        np.testing.assert_array_equal(getattr(fewer, name), getattr(tracks, name))


@pytest.mark.parametrize("inputs", [27, 126])
def test_files_are_those_of_basf2(inputs: int, tmp_path: Path) -> None:
    options = ["--tracks", "400", "--seed", "5", "--chain", "3dh", "--inputs", inputs]
    done = CliRunner().invoke(
        main, ["data", "simulate", str(tmp_path), *map(str, options)]
    )
    assert done.exit_code == 0, done.output
    made = simulate(400, seed=5, chain="3dh", inputs=inputs)
    found = read_tracks([tmp_path / f"random{i}.gz" for i in (1, 2, 3)])
    assert len(found.columns()) == inputs + 5

    def in_order(table: Tracks) -> list[bytes]:
        frame = table.to_frame()[list(found.columns())]
        return sorted(row.tobytes() for row in frame.to_numpy(dtype=np.float64))

    assert in_order(found) == in_order(made)


# What rows hold


def test_types_and_classes_follow_from_z(tracks: Tracks) -> None:
    assert tracks.classes is not None
    assert tracks.track_type is not None
    assert set(tracks.track_type.tolist()) == {0, 1, 2, 3}
    near = np.asarray(np.abs(tracks.targets[:, 0]) <= 0.01)
    nnt, stt = np.asarray(tracks.classes == 1).T
    np.testing.assert_array_equal(nnt, tracks.track_type == 0)
    kinds = tracks.track_type
    assert set(kinds[near & ~nnt].tolist()) == {2, 3}
    assert set(kinds[~near].tolist()) == {1}
    assert (stt <= nnt).all()
    assert 0.3 < stt[nnt].mean() < 0.9
    assert (tracks.targets[tracks.track_type >= 2, 0] == 0).all()


def test_the_single_track_class_asks_for_momentum() -> None:
    rng = np.random.default_rng(1)
    settings = dataclasses.replace(
        CLEAN, collision_event_share=1.0, reco_theta_std_deg=0.0, reco_wrong_share=0.0
    )
    h = make_helices(settings, 300, rng)
    n = len(h.event)
    found = Track3D(np.zeros(n), np.zeros(n), np.ones(n), np.ones(n, bool), [])
    _, classes = rows._targets(settings, h, found, rng)
    for i in range(n):
        pt_gev = OMEGA_CM_TIMES_PT_GEV / abs(h.omega_per_cm[i])
        assert (classes[i, 1] == 1) == (pt_gev / math.sin(h.theta_rad[i]) >= 0.7)


def test_targets_beyond_the_range_are_clamped() -> None:
    far = Simulation(tracks=500, background_z_cm=(95.0,) * 7)
    found = simulate_with(far, chain="3dh")
    assert found.targets.max() == 1


def test_a_track_lies_in_the_centre_of_a_cell(tracks: Tracks) -> None:
    """Crossing angles, not halved, are those of one of 40 curvatures."""
    for index in (1, 4):
        alpha = tracks.inputs_by_superlayer[:, index, 2].astype(np.float64)
        alpha = alpha[(alpha != 0) & (np.abs(alpha) < 1)]
        radii = SUPERLAYERS[index].radius_cm
        cells = [2 * np.sin(alpha) / r / OMEGA_CM_TIMES_PT_GEV / 0.2 for r in radii]
        off = [np.abs(c - np.floor(c) - 0.5) for c in cells]
        assert np.minimum(*off).max() < 1e-4


def test_a_track_has_segments_enough_each_with_its_pattern(tracks: Tracks) -> None:
    part = tracks.inputs_by_superlayer
    seen = np.asarray(part[:, :, :3].any(axis=2))
    assert seen[:, ::2].sum(axis=1).min() == Simulation().finder3d_axial
    assert seen[:, 1::2].sum(axis=1).min() == Simulation().finder3d_stereo
    bits = part[:, :, 3:]
    assert set(np.unique(bits)) == {0, 1}
    np.testing.assert_array_equal(bits.any(axis=2), seen)


# Patterns


def hits_of(h: Helices, index: int) -> Hits:
    own = np.arange(len(h.event))
    rows = Rows(helix=own, first=own, missing_axial=np.full(len(own), -1))
    return make_hits(index, CLEAN, h, rows, np.random.default_rng(7))


def place_at(sl: Superlayer, radius_layer: float, h: Helices, i: int) -> float:
    """Where helix i crosses a layer, in wires: by bisection, wire by straight wire.

    Layers are counted in pitches from the first priority one, halves included.
    """
    pitch = sl.radius_cm[1] - sl.radius_cm[0]
    end_radius = sl.radius_cm[0] + radius_layer * pitch
    ends = [
        z[0] + radius_layer * (z[1] - z[0]) for z in (sl.z_backward_cm, sl.z_forward_cm)
    ]
    turn = math.pi / sl.n_wires * sl.shift_half_cells
    cot = 1 / math.tan(h.theta_rad[i])

    def wire_point(fraction: float) -> tuple[float, float]:
        """Radius and azimuth on the wire whose backward end is at azimuth 0."""
        x = (1 - fraction) + fraction * math.cos(turn)
        y = fraction * math.sin(turn)
        return end_radius * math.hypot(x, y), math.atan2(y, x)

    def helix_at(radius: float) -> tuple[float, float]:
        alpha = math.asin(radius * h.omega_per_cm[i] / 2)
        z = h.z_cm[i] + 2 * alpha / h.omega_per_cm[i] * cot
        return z, h.phi_rad[i] - alpha + h.d0_cm[i] / radius

    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        z, _ = helix_at(wire_point(middle)[0])
        behind = (z - ends[0]) / (ends[1] - ends[0]) > middle
        low, high = (middle, high) if behind else (low, middle)
    radius, azimuth = wire_point(low)
    return (helix_at(radius)[1] - azimuth) * sl.n_wires / (2 * math.pi)


def bits_of_a_walk(
    sl: Superlayer, h: Helices, i: int, wire: float, second: bool
) -> tuple[list[bool], list[float]]:
    """Wires whose cells a helix passes; and how near the walk came to their edges."""
    first = place_at(sl, 0, h, i)
    centre = wire + ((0.5 if first >= wire else -0.5) if second else 0)
    layers: list[tuple[int, list[float]]] = [
        (-2, [-1, 0, 1]), (-1, [-0.5, 0.5]), (0, [0]), (1, [-0.5, 0.5]), (2, [-1, 0, 1])
    ]  # fmt: skip
    if sl.index == 0:
        layers = [(k, [j - k / 2 for j in range(k + 1)]) for k in range(5)]
    found, nearest = [], []
    for layer, wires in layers:
        enters, leaves = sorted(place_at(sl, layer + d, h, i) for d in (-0.5, 0.5))
        for offset in wires:
            lower, upper = centre + offset - 0.5, centre + offset + 0.5
            found.append(leaves > lower and enters < upper)
            nearest.append(min(abs(leaves - lower), abs(enters - upper)))
    middle = 0 if sl.index == 0 else 5
    found[middle] = not second
    if second:
        found[middle + (2 if wire > centre else 1)] = True
    return found[:11], nearest[:11]


@pytest.mark.parametrize("index", [0, 1, 4, 7])
def test_patterns_are_those_of_a_walk_through_the_cells(index: int) -> None:
    rng = np.random.default_rng(index)
    h = make_helices(NEAR_THE_AXIS, 400, rng)
    hits = hits_of(h, index)
    fired = make_pattern(index, CLEAN, hits, rng)
    sl, compared = SUPERLAYERS[index], 0
    # Away from the ends of the wires, and of the circles.
    z_cm = h.z_cm + sl.radius_cm[0] / np.tan(h.theta_rad)
    inside = (z_cm > sl.z_backward_cm[0] + 15) & (z_cm < sl.z_forward_cm[0] - 15)
    inside &= np.abs(h.omega_per_cm) * (sl.radius_cm[1] + 5) / 2 < 0.6
    for i in map(int, np.flatnonzero(hits.found & inside)[:50]):
        bits, nearest = bits_of_a_walk(
            sl, h, i, float(hits.wire[i]), bool(hits.second[i])
        )
        # The straight line of the simulation is right to a fifth of a wire, and
        # a walk along the edge of a cell may go either way.
        for bit in range(11):
            if nearest[bit] > 0.2:
                assert fired[i, bit] == bits[bit], (i, bit)
                compared += 1
    assert compared > 250


@pytest.mark.parametrize(("index", "layer"), [(0, slice(3, 6)), (5, slice(0, 3))])
def test_at_most_two_wires_of_a_layer_without_noise(index: int, layer: slice) -> None:
    h = make_helices(CLEAN, 2000, np.random.default_rng(1))
    fired = make_pattern(index, CLEAN, hits_of(h, index), np.random.default_rng(2))
    assert fired[:, layer].sum(axis=1).max() == 2


@pytest.mark.parametrize(("lost", "new"), [(0.2, 0.0), (0.0, 0.1)])
def test_wires_are_lost_and_found_as_often_as_asked(lost: float, new: float) -> None:
    h = make_helices(CLEAN, 4000, np.random.default_rng(1))
    changed = dataclasses.replace(
        CLEAN, pattern_missing_share=lost, pattern_noise_share=new
    )
    clean, fired = (
        make_pattern(4, s, hits_of(h, 4), np.random.default_rng(2))
        for s in (CLEAN, changed)
    )
    free = [0, 1, 2, 3, 4, 8, 9, 10]  # no priority wires
    clean, fired = clean[:, free], fired[:, free]
    assert (~fired)[clean].mean() == pytest.approx(lost, abs=0.01)
    assert fired[~clean].mean() == pytest.approx(new, abs=0.01)


# The finder


def alpha_at(radius: float, omega: float) -> float:
    """Crossing angle; a right one where the circle does not reach the layer."""
    half = radius * omega / 2
    return math.asin(half) if abs(half) < 1 else math.pi / 2


def slow_track(
    phi: float, omega: float, hits: list[Hits], i: int
) -> tuple[float, float, float, set[int]]:
    """Cell of one row and its superlayers, from where its segments lie."""
    sums = np.zeros(5)
    for sl in SUPERLAYERS[::2]:
        if hits[sl.index].found[i]:
            half = sl.radius_cm[0] / 2
            radius = sl.radius_cm[int(hits[sl.index].second[i])]
            scale = sl.n_wires / (2 * math.pi)
            error = hits[sl.index].wire[i] - (phi - alpha_at(radius, omega)) * scale
            error = math.remainder(error, sl.n_wires) / scale
            slope = -half / math.sqrt(max(1 - (half * omega) ** 2, 0.04))
            sums += scale**2 * np.array([1, slope, slope**2, error, slope * error])
    n, x, xx, y, xy = sums
    fit = np.linalg.lstsq([[n, x], [x, xx]], [y, xy], rcond=None)[0]
    phi, omega = phi + fit[0], omega + fit[1]
    cell = 0.2 * OMEGA_CM_TIMES_PT_GEV
    centre = (math.floor(omega / cell) + 0.5) * cell
    phi += CLEAN.pivot_radius_cm / 2 * (centre - omega)
    step = 2 * math.pi / 384
    phi = (math.floor(phi / step) + 0.5) * step
    best, found = -1.0, (0.0, set[int]())
    for k in range(9):
        cot = -1.0061730449796316 + (k + 0.5) * 3.391136 / 9
        shares = [
            slow_share(sl, hits[sl.index], i, phi, centre, cot) for sl in SUPERLAYERS
        ]
        if sum(shares[1::2]) > best + 1e-9:
            best = sum(shares[1::2])
            found = cot, {k for k, share in enumerate(shares) if share > 0}
    return phi, centre, *found


def slow_share(
    sl: Superlayer, hits: Hits, i: int, phi: float, omega: float, cot: float
) -> float:
    second = int(hits.second[i])
    width = 1.0 + sl.n_wires / (2 * math.pi) * (
        math.pi / 384 + sl.radius_cm[0] / 2 * 0.1 * OMEGA_CM_TIMES_PT_GEV
    )
    if sl.is_stereo:
        length = sl.z_forward_cm[0] - sl.z_backward_cm[0]
        slide = 3.391136 / 18 * sl.radius_cm[0] / length
        width += abs(sl.shift_half_cells) / 2 * slide
        one = np.array([omega])
        place, _, there = crossing(sl, second, 0.0, cot, np.array([phi]), one)
        if not there[0]:
            return 0
        wire = float(place[0])
    else:
        alpha = alpha_at(sl.radius_cm[second], omega)
        wire = (phi - alpha) * sl.n_wires / (2 * math.pi)
    away = abs(math.remainder(hits.wire[i] - wire, sl.n_wires)) / width
    return max(0.0, 1 - away) if hits.found[i] else 0.0


def test_the_finder_is_that_of_a_loop() -> None:
    h = make_helices(CLEAN, 200, np.random.default_rng(5))
    hits = [hits_of(h, index) for index in range(9)]
    seeds = Seeds(h.phi_rad, h.omega_per_cm)
    found = find_tracks_3d(CLEAN, seeds, hits, np.random.default_rng(1))
    for i in range(len(h.event)):
        if sum(part.found[i] for part in hits[::2]) < 3:
            assert not found.is_track[i]
            continue
        phi, omega, cot, seen = slow_track(h.phi_rad[i], h.omega_per_cm[i], hits, i)
        assert found.phi_rad[i] == pytest.approx(phi)
        assert found.omega_per_cm[i] == pytest.approx(omega)
        assert found.cotangent[i] == pytest.approx(cot, abs=1e-5)
        assert {k for k in range(9) if found.segments[k].seen[i]} == seen
        enough = len([k for k in seen if k % 2 == 0]) >= 3
        enough &= len([k for k in seen if k % 2]) >= 2
        inside = abs(omega) < 4 * OMEGA_CM_TIMES_PT_GEV
        assert found.is_track[i] == (enough and inside)


def test_tracks_from_the_collision_point_are_found_where_they_are() -> None:
    s = dataclasses.replace(CLEAN, collision_event_share=1.0)
    h = make_helices(s, 500, np.random.default_rng(6))
    hits = [hits_of(h, index) for index in range(9)]
    seeds = Seeds(h.phi_rad, h.omega_per_cm)
    found = find_tracks_3d(s, seeds, hits, np.random.default_rng(1))
    good = found.is_track & (np.abs(h.omega_per_cm) < 0.01)
    assert good.mean() > 0.8
    cot = 1 / np.tan(h.theta_rad)
    # A cell is 0.38 wide, and its neighbours are as good where the wires are coarse.
    assert np.median(np.abs(found.cotangent - cot)[good]) < 0.25
    assert np.median(np.abs(found.omega_per_cm - h.omega_per_cm)[good]) < 5e-4


# Fakes


def test_a_crossed_fake_lies_on_both_of_its_tracks() -> None:
    rng = np.random.default_rng(2)
    h = make_helices(CLEAN, 400, rng)
    crossed = rows._cross(CLEAN, h, rng)
    assert len(crossed.first) > 30
    for i, first in enumerate(crossed.first):
        seem = crossed.seeds.phi_rad[i], crossed.seeds.omega_per_cm[i]
        inner = h.phi_rad[first], h.omega_per_cm[first]
        outer = crossed.second.phi_rad[i], crossed.second.omega_per_cm[i]
        for index, track in ((2, inner), (6, outer)):
            half = SUPERLAYERS[index].radius_cm[0] / 2
            places = [
                phi - math.asin(max(-1, min(1, half * omega)))
                for phi, omega in (track, seem)
            ]
            assert places[0] == pytest.approx(places[1])


@pytest.mark.parametrize(("kind", "number"), [("noise", 2), ("crossed", 3)])
def test_fakes_of_each_kind_can_be_left_out(kind: str, number: int) -> None:
    changed: dict[str, Any] = {f"{kind}_fakes_per_track": 0}
    found = simulate_with(Simulation(tracks=2000, **changed), chain="3dh")
    assert found.track_type is not None
    assert set(found.track_type.tolist()) == {0, 1, 2, 3} - {number}


def test_segments_of_a_row_lie_near_its_track(tracks: Tracks) -> None:
    """No cut on the ranges of the relID, but the cell of the finder limits it."""
    for index, limits in enumerate(ID_RANGES):
        part = tracks.inputs_by_superlayer[:, index]
        scaling = id_scaling(*limits)
        rel_id = part[part.any(axis=1), 0] / scaling.scale + scaling.offset
        reach = 4.5 + SUPERLAYERS[index].is_stereo * 10
        assert np.abs(rel_id).max() < reach
