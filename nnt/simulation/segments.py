"""What a superlayer measures of each track: wire, time, side."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nnt.detector import ID_RANGES, SUPERLAYERS, Superlayer
from nnt.simulation.finder import Found, expectation
from nnt.simulation.parameters import Simulation
from nnt.simulation.population import Helices, Rows
from nnt.types import F32, F64, I64, BoolArray

SIDE_BINS = 200
SIDE_ANGLES_RAD = np.arcsin(np.linspace(-1, 1, SIDE_BINS + 1))
"""Crossing angles at which the left/right tables are looked up."""


@dataclass(frozen=True, slots=True)
class Hits:
    """What a superlayer sees of each row before its 2D track is known, shape (M,)."""

    found: BoolArray
    """A segment was found."""
    wire: F64
    """Of the segment; in the second priority layer half of an odd number."""
    error: F64
    """Wires between the segment and the true track."""
    wrong: BoolArray
    """Segment of something else: anywhere in the window of the 2D track."""
    anywhere: F32
    """Where in the window, 0 to 1."""
    second: BoolArray
    time_ticks: F64
    """Since the track passed: not the time that the trigger takes for it."""
    side: F64
    """+1 left, -1 right, 0 undecided."""
    passed: F64
    """Where the track crossed the layer, in wires, what it scatters included."""
    slope: F64
    """Wires that the track moves from the first priority layer to the second."""


@dataclass(frozen=True, slots=True)
class Segments:
    """Track segments of one superlayer as the network gets them, shape (M,) each."""

    seen: BoolArray
    """A segment was found and lies in the relID window."""
    found: BoolArray
    """A segment was found, in the window or not."""
    rel_id: F64
    alpha_rad: F64
    time_ticks: F64
    side: F64


def _places(sl: Superlayer, layer: int, h: Helices) -> tuple[F64, F64, BoolArray]:
    """Where helices cross a priority layer, as `crossing` gives it."""
    return crossing(
        sl, layer, h.z_cm, 1 / np.tan(h.theta_rad), h.phi_rad, h.omega_per_cm, h.d0_cm
    )


def crossing(
    sl: Superlayer,
    layer: int,
    start_cm: F64 | float,
    cotangent: F64 | float,
    phi_rad: F64,
    omega_per_cm: F64,
    d0_cm: F64 | float = 0.0,
) -> tuple[F64, F64, BoolArray]:
    """Where helices cross a priority layer.

    Parameters
    ----------
    sl : Superlayer
        Which.
    layer : int
        0 for the first priority layer, 1 for the second.
    start_cm, cotangent, phi_rad, omega_per_cm, d0_cm : float64 array, shape (N,)
        z at the beam axis, cotangent of the polar angle, azimuth there, signed
        curvature (not 0), distance from the axis.

    Returns
    -------
    place : float64 array, shape (N,)
        In wires, counted at the backward end plate: a wire is a whole number in
        the first layer, half of an odd one in the second.
    cell_cm : float64 array, shape (N,)
        Size of a cell across the track.
    reached : bool array, shape (N,)
    """
    turn = np.pi / sl.n_wires * sl.shift_half_cells
    end_radius_cm = sl.radius_cm[layer]
    backward_cm, forward_cm = sl.z_backward_cm[layer], sl.z_forward_cm[layer]
    radius_cm: F64 | float = end_radius_cm
    # A stereo wire is a straight line, closer to the axis in its middle.
    for _ in range(2 if sl.is_stereo else 1):
        half_chord = np.clip(radius_cm * omega_per_cm / 2, -1, 1)
        alpha = np.arcsin(half_chord)
        z_cm = start_cm + 2 * alpha / omega_per_cm * cotangent
        fraction = (z_cm - backward_cm) / (forward_cm - backward_cm)
        across = (2 * fraction - 1) * np.tan(turn / 2)
        radius_cm = end_radius_cm * np.cos(turn / 2) * np.sqrt(1 + across**2)
    reached = (np.abs(half_chord) < 1) & (fraction > 0) & (fraction < 1)
    azimuth = phi_rad - alpha + d0_cm / radius_cm - turn / 2 - np.arctan(across)
    place = azimuth * (sl.n_wires / (2 * np.pi))
    cell_cm = 2 * np.pi / sl.n_wires * radius_cm * np.sqrt(1 - half_chord**2)
    return place, cell_cm, reached


def _wrong_and_mess(
    index: int, s: Simulation, kind: I64, messy: F64, rng: np.random.Generator
) -> tuple[BoolArray, F64]:
    """Draw whose segment is not of the track, and give how disturbed all are, (N,)."""
    wrong_shares = (
        s.collision_wrong_share,
        s.crowd_wrong_share,
        s.background_wrong_share,
    )
    wrong = (
        _uniform(rng, len(kind)) < messy * np.take(wrong_shares, index, axis=1)[kind]
    )
    mess = messy * np.take((s.collision_mess, s.crowd_mess, s.background_mess), kind)
    return wrong, mess


def make_hits(
    index: int, s: Simulation, h: Helices, rows: Rows, rng: np.random.Generator
) -> Hits:
    """Draw what one superlayer sees of each row."""
    sl, n = SUPERLAYERS[index], len(rows.helix)
    crossings = [_places(sl, layer, h) for layer in (0, 1)]
    second = _is_second(s, index, h, crossings[1][0], rng)[rows.helix]
    place, cell_cm, reached = (
        np.where(second, b[rows.helix], a[rows.helix])
        for a, b in zip(*crossings, strict=True)
    )
    scatter = s.background_scatter_wires[index] * h.scatter
    scatter = scatter * rng.standard_normal(len(scatter), dtype=np.float32)
    true_place = place
    place = place + scatter[rows.helix] + s.segment_shift_wires[index]
    half = 0.5 * second
    wire = np.rint(place - half) + half
    messy = h.mess[rows.helix]
    wrong, mess = _wrong_and_mess(index, s, h.kind[rows.helix], messy, rng)
    neighbour = ~wrong & (_uniform(rng, n) < mess * s.segment_neighbour_share[index])
    wire += np.where(neighbour, np.sign(place - wire), 0.0)
    distance_cm = (place - wire) * cell_cm
    # Charge drifts to the next wire too, but for the axial ones of a 2D track.
    odd = wrong if sl.is_stereo or index == 0 else wrong | neighbour
    time_ticks = _time(s, index, distance_cm, odd, mess, second, rng)
    side = _side(
        s, index, distance_cm, wrong, second, h.omega_per_cm[rows.helix], messy, rng
    )
    found = reached | wrong
    if sl.is_stereo:
        lost = s.stereo_dead_share[index // 2] + s.stereo_lost_share[index // 2] * messy
        found &= _uniform(rng, n) >= lost
    anywhere = _uniform(rng, n)
    if not sl.is_stereo:
        wire = np.where(wrong, _strange_wire(index, place, anywhere, half), wire)
    chosen = _same_as_first(s, rows, rng)
    # Which axial superlayer is missing belongs to the row, not to the segment.
    present = rows.missing_axial != index
    return Hits(
        found=found[chosen] & present,
        wire=wire[chosen],
        error=(wire - true_place)[chosen],
        wrong=wrong[chosen],
        anywhere=anywhere[chosen],
        second=second[chosen],
        time_ticks=time_ticks[chosen],
        side=side[chosen],
        passed=place[chosen],
        slope=(crossings[1][0] - crossings[0][0])[rows.helix[chosen]],
    )


def _strange_wire(index: int, place: F32, anywhere: F32, half: F32) -> F32:
    """Place a wire anywhere in the range that the finder looks at."""
    lower, upper = ID_RANGES[index]
    return np.rint(place + lower + (upper - lower) * anywhere - half) + half


def make_segments(index: int, hits: Hits, found: Found) -> Segments:
    """Place the segments of one superlayer relative to the 2D tracks."""
    sl = SUPERLAYERS[index]
    lower, upper = ID_RANGES[index]
    alpha, reference = expectation(sl, hits.second, found)
    wire = hits.wire
    if sl.is_stereo:
        half = 0.5 * hits.second
        strange = reference + lower + (upper - lower) * hits.anywhere
        wire = np.where(hits.wrong, np.rint(strange - half) + half, wire)
    rel_id = wire - reference
    return Segments(
        seen=hits.found & (rel_id >= lower) & (rel_id <= upper),
        found=hits.found,
        rel_id=rel_id,
        alpha_rad=alpha,
        time_ticks=hits.time_ticks,
        side=hits.side,
    )


def _same_as_first(s: Simulation, rows: Rows, rng: np.random.Generator) -> I64:
    """Row whose segment each row has: its own, or that of its track's first row."""
    own = np.arange(len(rows.helix))
    return np.where(_uniform(rng, len(own)) < s.same_segment_share, rows.first, own)


def _time(
    s: Simulation,
    index: int,
    distance_cm: F64,
    wrong: BoolArray,
    mess: F64,
    second: BoolArray,
    rng: np.random.Generator,
) -> F64:
    n = len(distance_cm)
    stereo = int(SUPERLAYERS[index].is_stereo)
    distance_cm = np.abs(distance_cm)
    slower = s.drift_quadratic_ticks_per_cm2[index] * distance_cm
    ticks = distance_cm * (s.drift_linear_ticks_per_cm + slower)
    # What falls below a share is uniform below it: one draw decides and measures.
    fast_share = s.fast_share_per_cm[stereo] * mess * distance_cm
    fast = _uniform(rng, n)
    ticks *= np.where(fast < fast_share, fast / np.maximum(fast_share, 1e-6), 1.0)
    lower, upper = s.wrong_time_ticks
    ticks = np.where(wrong, lower + (upper - lower) * _uniform(rng, n), ticks)
    ticks += s.time_std_ticks * rng.standard_normal(n, dtype=np.float32)
    kind, amount = _uniform(rng, n) / mess, _uniform(rng, n)
    is_late = kind < s.late_share
    ticks[is_late] -= s.late_mean_ticks * np.log1p(-amount[is_late])
    kind -= s.late_share
    is_stray = (kind >= 0) & (kind < s.stray_share[stereo])
    ticks[is_stray] += s.stray_ticks * amount[is_stray]
    kind -= s.stray_share[stereo]
    is_stale = (kind >= 0) & (kind < s.stale_share[stereo])
    lower, upper = s.stale_ticks
    ticks[is_stale] -= lower + (upper - lower) * amount[is_stale]
    share = np.where(
        second, s.delayed_second_share[index], s.delayed_first_share[index]
    )
    delayed = _uniform(rng, n)
    is_delayed = delayed < share
    ticks[is_delayed] += (
        s.delayed_ticks * (delayed / np.maximum(share, 1e-6))[is_delayed]
    )
    return np.floor(ticks)


def _uniform(rng: np.random.Generator, n: int) -> F32:
    """Draw numbers in [0, 1) to compare with shares: seven digits are enough."""
    return rng.random(n, dtype=np.float32)


def _is_second(
    s: Simulation, index: int, h: Helices, place: F64, rng: np.random.Generator
) -> BoolArray:
    """Which tracks miss the first priority wire but meet a second one."""
    from_wire = place - 0.5 - np.rint(place - 0.5)
    lean = np.clip(
        h.omega_per_cm * SUPERLAYERS[index].radius_cm[0] / 2 / s.second_layer_bias_rad,
        -1,
        1,
    )
    weight = 1 - s.second_layer_bias * lean * from_wire
    chosen: BoolArray = (
        _uniform(rng, len(place)) < s.segment_second_share[index] * weight
    )
    return chosen


def _side(
    s: Simulation,
    index: int,
    distance_cm: F64,
    wrong: BoolArray,
    second: BoolArray,
    omega_per_cm: F64,
    messy: F64,
    rng: np.random.Generator,
) -> F64:
    n = len(distance_cm)
    sl = SUPERLAYERS[index]
    left = distance_cm > 0
    half_chord = np.clip(omega_per_cm * (sl.radius_cm[0] / 2), -1, 1)
    bin_number = ((half_chord + 1) * (SIDE_BINS / 2)).astype(np.int64)
    which = bin_number + (SIDE_BINS + 1) * (2 * second + left)
    undecided, flipped = (
        table.ravel()[which] for table in _side_tables(s, index, SIDE_ANGLES_RAD)
    )
    undecided = undecided * (1 + s.undecided_mess * (messy - 1))
    # Even of the messiest tracks some sides are right.
    growth = 1 + s.wrong_side_mess * (messy - 1)
    flipped = np.minimum(flipped * growth, 0.5 + flipped / 2)
    near = np.exp(-np.abs(distance_cm) / s.near_wire_cm)
    undecided = np.where(
        wrong, s.wrong_undecided_share, undecided + s.near_wire_undecided * near
    )
    flipped = np.where(wrong, 0.5, flipped + (0.5 - flipped) * near)
    side = np.where(left, 1.0, -1.0) * np.where(_uniform(rng, n) < flipped, -1.0, 1.0)
    decided: F64 = np.where(_uniform(rng, n) < undecided, 0.0, side)
    return decided


def _side_tables(s: Simulation, index: int, angle: F64) -> tuple[F64, F64]:
    """Shares of unknown and of wrong sides, by (second, left) and angle."""
    kind = "stereo" if SUPERLAYERS[index].is_stereo else "axial"
    suffix = "_stereo" if SUPERLAYERS[index].is_stereo else ""

    def at(name: str) -> F64:
        values: F64 = np.interp(angle, s.side_angle_rad, getattr(s, name))
        return values

    first = at(f"undecided_{kind}")
    wrong_left, wrong_right = (
        at(f"wrong_if_{side}{suffix}") for side in ("left", "right")
    )
    if index == 0:
        first = np.full_like(angle, s.undecided_inner)
        wrong_left = np.full_like(angle, s.wrong_inner[0])
        wrong_right = np.full_like(angle, s.wrong_inner[1])
    undecided = [
        first,
        first,
        at(f"second_undecided_{kind}_right"),
        at(f"second_undecided_{kind}_left"),
    ]
    flipped = [
        wrong_right,
        wrong_left,
        np.full_like(angle, s.second_wrong_right),
        at("second_wrong_left"),
    ]
    return np.array(undecided), np.array(flipped)
