"""What a superlayer measures of each track: wire, time, side, hit pattern."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nnt.detector import ID_RANGES, N_PATTERN_BITS, SUPERLAYERS, Superlayer
from nnt.simulation.parameters import Simulation
from nnt.simulation.population import Helices, Rows
from nnt.types import F32, F64, I64, BoolArray

SIDE_BINS = 200
SIDE_ANGLES_RAD = np.arcsin(np.linspace(-1, 1, SIDE_BINS + 1))
"""Crossing angles at which the left/right tables are looked up."""
INNER = (
    (0, 0), (1, -0.5), (1, 0.5), (2, -1), (2, 0), (2, 1),
    (3, -1.5), (3, -0.5), (3, 0.5), (3, 1.5),
    (4, -2), (4, -1), (4, 0), (4, 1), (4, 2),
)  # fmt: skip
OUTER = (
    (-2, -1), (-2, 0), (-2, 1), (-1, -0.5), (-1, 0.5), (0, 0), (1, -0.5), (1, 0.5),
    (2, -1), (2, 0), (2, 1),
)  # fmt: skip
PATTERN_WIRES = [
    np.array(wires[:N_PATTERN_BITS], dtype=np.float64)
    for wires in (INNER, *[OUTER] * 8)
]
"""Layer, from the first priority one outwards, and wires from the segment's, of each
bit of each superlayer (``CDCTriggerTSFModule`` of basf2): a triangle in SL0, an
hourglass in all others. SL0 has four bits more, which no network gets."""


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
    """The segments of one superlayer as a track finder takes them, shape (M,) each."""

    seen: BoolArray
    """A segment was found and belongs to the track."""
    rel_id: F64
    alpha_rad: F64


def crossing(
    sl: Superlayer,
    layer: int,
    start_cm: F64 | float,
    cotangent: F64 | float,
    phi_rad: F64,
    omega_per_cm: F64,
    d0_cm: F64 | float = 0.0,
) -> tuple[F64, F64, BoolArray]:
    """Where helices cross the first (0) or second priority layer (1) of a superlayer.

    Parameters
    ----------
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


def nearest_wire(place: F64, second: BoolArray) -> F64:
    """Wire next to a place; in the second priority layer half of an odd number."""
    half = 0.5 * second
    wire: F64 = np.rint(place - half) + half
    return wire


def strange_wire(index: int, place: F64, anywhere: F32, second: BoolArray) -> F64:
    """Place a wire anywhere in the range that the finder looks at around a place."""
    lower, upper = ID_RANGES[index]
    return nearest_wire(place + lower + (upper - lower) * anywhere, second)


def make_hits(
    index: int, s: Simulation, h: Helices, rows: Rows, rng: np.random.Generator
) -> Hits:
    """Draw what one superlayer sees of each row."""
    sl, n, draw = SUPERLAYERS[index], len(rows.helix), _Draws(index, s, rng)
    helix = h.z_cm, 1 / np.tan(h.theta_rad), h.phi_rad, h.omega_per_cm, h.d0_cm
    crossings = [crossing(sl, layer, *helix) for layer in (0, 1)]
    second = draw.second(h, crossings[1][0])[rows.helix]
    place, cell_cm, reached = (
        np.where(second, b[rows.helix], a[rows.helix])
        for a, b in zip(*crossings, strict=True)
    )
    scatter = s.background_scatter_wires[index] * h.scatter
    scatter = scatter * rng.standard_normal(len(scatter), dtype=np.float32)
    true_place = place
    place = place + scatter[rows.helix] + s.segment_shift_wires[index]
    wire = nearest_wire(place, second)
    messy, kind = h.mess[rows.helix], h.kind[rows.helix]
    wrong = draw.wrong(kind, messy)
    mess = messy * np.take((s.collision_mess, s.crowd_mess, s.background_mess), kind)
    neighbour = ~wrong & (draw.uniform(n) < mess * s.segment_neighbour_share[index])
    wire += np.where(neighbour, np.sign(place - wire), 0.0)
    distance_cm = (place - wire) * cell_cm
    # Charge drifts to the next wire too, but for the axial ones of a 2D track.
    odd = wrong if sl.is_stereo or index == 0 else wrong | neighbour
    time_ticks = draw.time(distance_cm, odd, mess, second)
    side = draw.side(distance_cm, wrong, second, h.omega_per_cm[rows.helix], messy)
    found = reached | wrong
    if sl.is_stereo:
        lost = s.stereo_dead_share[index // 2] + s.stereo_lost_share[index // 2] * messy
        found &= draw.uniform(n) >= lost
    anywhere = draw.uniform(n)
    if not sl.is_stereo:
        wire = np.where(wrong, strange_wire(index, place, anywhere, second), wire)
    # The segment of a row is its own, or that of its track's first row.
    chosen = np.where(draw.uniform(n) < s.same_segment_share, rows.first, np.arange(n))
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


@dataclass(frozen=True, slots=True)
class _Draws:
    """How one superlayer responds, by the random numbers of a chunk."""

    index: int
    s: Simulation
    rng: np.random.Generator

    def uniform(self, n: int) -> F32:
        """Draw numbers in [0, 1) to compare with shares: seven digits are enough."""
        return self.rng.random(n, dtype=np.float32)

    def wrong(self, kind: I64, messy: F64) -> BoolArray:
        """Which segments are of something else, by the kind of the track."""
        s = self.s
        shares = s.collision_wrong_share, s.crowd_wrong_share, s.background_wrong_share
        share = np.take(shares, self.index, axis=1)[kind]
        wrong: BoolArray = self.uniform(len(kind)) < messy * share
        return wrong

    def second(self, h: Helices, place: F64) -> BoolArray:
        """Which tracks miss the first priority wire but meet a second one."""
        s, radius_cm = self.s, SUPERLAYERS[self.index].radius_cm[0]
        from_wire = place - 0.5 - np.rint(place - 0.5)
        lean = h.omega_per_cm * radius_cm / 2 / s.second_layer_bias_rad
        weight = 1 - s.second_layer_bias * np.clip(lean, -1, 1) * from_wire
        chosen: BoolArray = (
            self.uniform(len(place)) < s.segment_second_share[self.index] * weight
        )
        return chosen

    def time(
        self, distance_cm: F64, wrong: BoolArray, mess: F64, second: BoolArray
    ) -> F64:
        """Drift times in ticks."""
        s, index, n = self.s, self.index, len(distance_cm)
        stereo = int(SUPERLAYERS[index].is_stereo)
        distance_cm = np.abs(distance_cm)
        slower = s.drift_quadratic_ticks_per_cm2[index] * distance_cm
        ticks = distance_cm * (s.drift_linear_ticks_per_cm + slower)
        # What falls below a share is uniform below it: one draw decides and measures.
        fast_share = s.fast_share_per_cm[stereo] * mess * distance_cm
        fast = self.uniform(n)
        ticks *= np.where(fast < fast_share, fast / np.maximum(fast_share, 1e-6), 1.0)
        lower, upper = s.wrong_time_ticks
        ticks = np.where(wrong, lower + (upper - lower) * self.uniform(n), ticks)
        ticks += s.time_std_ticks * self.rng.standard_normal(n, dtype=np.float32)
        kind, amount = self.uniform(n) / mess, self.uniform(n)
        is_late = kind < s.late_share
        ticks[is_late] -= s.late_mean_ticks * np.log1p(-amount[is_late])
        kind -= s.late_share
        is_stray = (kind >= 0) & (kind < s.stray_share[stereo])
        ticks[is_stray] += s.stray_ticks * amount[is_stray]
        kind -= s.stray_share[stereo]
        is_stale = (kind >= 0) & (kind < s.stale_share[stereo])
        lower, upper = s.stale_ticks
        ticks[is_stale] -= lower + (upper - lower) * amount[is_stale]
        shares = s.delayed_second_share[index], s.delayed_first_share[index]
        share, delayed = np.where(second, *shares), self.uniform(n)
        late = (delayed / np.maximum(share, 1e-6))[is_delayed := delayed < share]
        ticks[is_delayed] += s.delayed_ticks * late
        return np.floor(ticks)

    def side(
        self,
        distance_cm: F64,
        wrong: BoolArray,
        second: BoolArray,
        omega_per_cm: F64,
        messy: F64,
    ) -> F64:
        """Sides of the wires, as `Hits.side`."""
        s, n = self.s, len(distance_cm)
        left = distance_cm > 0
        half_radius_cm = SUPERLAYERS[self.index].radius_cm[0] / 2
        half_chord = np.clip(omega_per_cm * half_radius_cm, -1, 1)
        bin_number = ((half_chord + 1) * (SIDE_BINS / 2)).astype(np.int64)
        which = bin_number + (SIDE_BINS + 1) * (2 * second + left)
        undecided, flipped = (table.ravel()[which] for table in self._side_tables())
        undecided = undecided * (1 + s.undecided_mess * (messy - 1))
        # Even of the messiest tracks some sides are right.
        growth = 1 + s.wrong_side_mess * (messy - 1)
        flipped = np.minimum(flipped * growth, 0.5 + flipped / 2)
        near = np.exp(-np.abs(distance_cm) / s.near_wire_cm)
        undecided = undecided + s.near_wire_undecided * near
        undecided = np.where(wrong, s.wrong_undecided_share, undecided)
        flipped = np.where(wrong, 0.5, flipped + (0.5 - flipped) * near)
        side = np.where(left, 1.0, -1.0)
        side *= np.where(self.uniform(n) < flipped, -1.0, 1.0)
        return np.where(self.uniform(n) < undecided, 0.0, side)

    def _side_tables(self) -> tuple[F64, F64]:
        """Shares of unknown and of wrong sides, by (second, left) and angle."""
        s = self.s
        is_stereo = SUPERLAYERS[self.index].is_stereo
        kind, suffix = ("stereo", "_stereo") if is_stereo else ("axial", "")

        def at(name: str) -> F64:
            shares: F64 = getattr(s, name)
            return np.interp(SIDE_ANGLES_RAD, s.side_angle_rad, shares)

        undecided, flipped = np.empty((2, 4, SIDE_BINS + 1))
        for i, side in enumerate(("right", "left")):
            undecided[i] = at(f"undecided_{kind}")
            flipped[i] = at(f"wrong_if_{side}{suffix}")
            undecided[2 + i] = at(f"second_undecided_{kind}_{side}")
        if self.index == 0:
            undecided[:2] = s.undecided_inner
            flipped[1], flipped[0] = s.wrong_inner
        flipped[2], flipped[3] = s.second_wrong_right, at("second_wrong_left")
        return undecided, flipped


def make_pattern(
    index: int, s: Simulation, hits: Hits, rng: np.random.Generator
) -> BoolArray:
    """Tell which wires of the segments of one superlayer have a signal.

    A track crosses the layers of a superlayer on what is nearly a straight line, and
    has a signal on each wire whose cell it passes: one or two in a layer. A segment of
    something else is that of a track that passes its wire with another inclination.
    The result has shape (M, 11), the lowest bits first. Random numbers are of the
    patterns alone: without them a table is the same.
    """
    n = len(hits.wire)
    other = hits.wire + rng.uniform(-0.5, 0.5, n)
    passed = np.where(hits.wrong, other, hits.passed)
    slope = np.where(hits.wrong, np.roll(hits.slope, 1), hits.slope)
    first = passed - hits.second * slope
    # The wire in the first priority layer that names the segment: of the two next to a
    # wire of the second layer, the one nearer to the track.
    centre = hits.wire + np.where(first < hits.wire, -0.5, 0.5) * hits.second
    layer, offset = PATTERN_WIRES[index].T
    # The cells between where a layer begins and where it ends: two of them at most.
    half = 0.5 + np.minimum(np.abs(slope) / 2, 0.5)
    distance = (first - centre)[:, None] + np.outer(slope, layer) - offset
    fired: BoolArray = np.abs(distance) < half[:, None]
    fired &= rng.random(fired.shape) >= s.pattern_missing_share
    fired |= rng.random(fired.shape) < s.pattern_noise_share
    # The priority wire that the segment was found by fires in any case.
    fired[:, (layer == 0) & (offset == 0)] = ~hits.second[:, None]
    for side in (-0.5, 0.5):
        mine = hits.second & (hits.wire - centre == side)
        fired[mine, np.flatnonzero((layer == 1) & (offset == side))] = True
    return fired
