"""Rows of the 3D Hough chain: tracks, and fakes out of segments that line up."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import TypeVar

import numpy as np

from nnt.detector import (
    HOUGH3D,
    N_INPUTS,
    N_SUPERLAYERS,
    OMEGA_CM_TIMES_PT_GEV,
    REAL_Z_CM,
    STT_MOMENTUM_GEV,
    SUPERLAYERS,
    scale_theta,
    theta_to_deg,
    z_to_cm,
)
from nnt.simulation.finder3d import (
    COT_RANGE,
    MAX_INVERSE_PT,
    Seeds,
    Track3D,
    find_tracks_3d,
)
from nnt.simulation.parameters import Simulation
from nnt.simulation.population import Helices, Rows, make_helices, missing_axial
from nnt.simulation.rows import CHUNK_EVENTS, as_in_files, make_inputs, make_targets
from nnt.simulation.segments import (
    Hits,
    crossing,
    make_hits,
    make_pattern,
    nearest_wire,
)
from nnt.tracks import Tracks, make_ids
from nnt.tracks.table import UNNAMED_EVENTS
from nnt.types import F32, F64, I64

EVENTS_PER_CHUNK = 100 * CHUNK_EVENTS
"""Numbers kept free for each chunk: fakes of noise are events of their own."""
REAL, BACKGROUND, NOISE, CROSSED = range(4)
"""Track types of the files; a fake in an event of tracks is `CROSSED`."""
INNER_SL, OUTER_SL = 2, 6
"""Where a fake meets its two tracks."""

Arrays = TypeVar("Arrays", Helices, Hits, Seeds)


@dataclass(frozen=True, slots=True)
class _Crossed:
    """Fakes of two tracks: segments of the first inside, of the second outside."""

    first: I64
    """Number of that helix."""
    second: Helices
    seeds: Seeds
    changes_at: I64
    """First superlayer of the second track."""


def make_chunk_3d(
    s: Simulation, number: int, rng: np.random.Generator, n_inputs: int
) -> Tracks:
    """Make the rows of `CHUNK_EVENTS` events, and of those that hold noise alone.

    126 inputs are those of the same rows with the hit patterns of their segments.
    """
    pattern_rng = rng.spawn(1)[0]
    helices = make_helices(s, CHUNK_EVENTS, rng)
    crossed = _cross(s, helices, rng)
    n_real, n_crossed = len(helices.event), len(crossed.first)
    n_noise = round(s.noise_fakes_per_track * n_real)
    most = MAX_INVERSE_PT * OMEGA_CM_TIMES_PT_GEV
    noise = Seeds(
        phi_rad=rng.uniform(-np.pi, np.pi, n_noise),
        omega_per_cm=rng.uniform(-most, most, n_noise),
    )
    hits = _hits(s, helices, crossed, noise, rng.uniform(*COT_RANGE, n_noise), rng)
    seeds = _joined(Seeds(helices.phi_rad, helices.omega_per_cm), crossed.seeds, noise)
    found = find_tracks_3d(s, seeds, hits, rng)
    track_type = np.repeat([REAL, CROSSED, NOISE], [n_real, n_crossed, n_noise])
    of_noise = CHUNK_EVENTS + np.arange(n_noise)
    event = np.concatenate([helices.event, helices.event[crossed.first], of_noise])
    targets, classes = _targets(s, helices, found, rng)
    track_type[:n_real][np.abs(z_to_cm(targets[:n_real, 0])) > REAL_Z_CM] = BACKGROUND
    with_patterns = enumerate(hits) if n_inputs > N_INPUTS else ()
    patterns = [make_pattern(i, s, part, pattern_rng) for i, part in with_patterns]
    # Shuffled, so that a table that is cut short holds rows of all types.
    rows = rng.permutation(np.flatnonzero(found.is_track))
    event = event[rows] + number * EVENTS_PER_CHUNK
    unnamed = np.full(len(rows), UNNAMED_EVENTS)
    return Tracks(
        ids=make_ids({"Experiment": unnamed, "Event": event}, len(rows)),
        inputs=make_inputs(hits, found.segments, HOUGH3D, patterns)[rows],
        targets=as_in_files(targets[rows]),
        classes=classes[rows],
        track_type=track_type[rows],
    )


def _cross(s: Simulation, h: Helices, rng: np.random.Generator) -> _Crossed:
    """Draw pairs of tracks, the second turned to where both seem to be one."""
    n = len(h.event)
    first = rng.integers(0, n, round(s.crossed_fakes_per_track * n))
    second, seem = rng.integers(0, n, (2, len(first)))
    omega = h.omega_per_cm[seem]

    def alpha(index: int, curvature: F64) -> F64:
        half_chord = SUPERLAYERS[index].radius_cm[0] / 2 * curvature
        return np.arcsin(np.clip(half_chord, -1, 1))

    phi = h.phi_rad[first] + alpha(INNER_SL, omega)
    phi -= alpha(INNER_SL, h.omega_per_cm[first])
    turned = phi - alpha(OUTER_SL, omega) + alpha(OUTER_SL, h.omega_per_cm[second])
    others = _taken(h, second)
    return _Crossed(
        first=first,
        second=replace(others, phi_rad=turned),
        seeds=Seeds(phi_rad=phi, omega_per_cm=omega),
        changes_at=rng.integers(INNER_SL + 2, OUTER_SL, len(first)),
    )


def _taken(part: Arrays, rows: I64) -> Arrays:
    return replace(part, **{f.name: getattr(part, f.name)[rows] for f in fields(part)})


def _joined(*parts: Arrays) -> Arrays:
    names = [field.name for field in fields(parts[0])]
    named = {n: np.concatenate([getattr(part, n) for part in parts]) for n in names}
    return replace(parts[0], **named)


def _hits(
    s: Simulation,
    h: Helices,
    crossed: _Crossed,
    noise: Seeds,
    cotangent: F64,
    rng: np.random.Generator,
) -> list[Hits]:
    """Segments of tracks, of pairs of them, and of noise, superlayer by superlayer."""
    both = _joined(h, crossed.second)
    n, own = len(h.event), np.arange(len(both.event))
    rows = Rows(helix=own, first=own, missing_axial=missing_axial(s, len(own), rng))
    hits = []
    for i in range(N_SUPERLAYERS):
        of_tracks = make_hits(i, s, both, rows, rng)
        source = own.copy()
        inside = crossed.changes_at > i
        source[n:][inside] = crossed.first[inside]
        of_noise = _noise_hits(i, s, noise, cotangent, rng)
        hits.append(_joined(_taken(of_tracks, source), of_noise))
    return hits


def _noise_hits(
    index: int, s: Simulation, seeds: Seeds, cot: F64, rng: np.random.Generator
) -> Hits:
    """Segments that happen to lie near one helix, of any time and inclination."""
    sl, n = SUPERLAYERS[index], len(cot)
    (inner, _, reached), (outer, _, _) = (
        crossing(sl, layer, 0.0, cot, seeds.phi_rad, seeds.omega_per_cm)
        for layer in (0, 1)
    )
    second = rng.random(n) < s.segment_second_share[index]
    place = np.where(second, outer, inner)
    place = place + s.finder3d_reach_wires * rng.uniform(-1, 1, n)
    undecided = rng.random(n) < s.wrong_undecided_share
    wire = nearest_wire(place, second)
    return Hits(
        found=(rng.random(n) < s.noise_segment_share) & reached,
        wire=wire,
        error=np.zeros(n),
        wrong=np.zeros(n, dtype=np.bool_),
        anywhere=np.zeros(n, dtype=np.float32),
        second=second,
        time_ticks=np.floor(rng.uniform(0, s.noise_time_ticks, n)),
        side=np.where(undecided, 0.0, rng.choice([-1.0, 1.0], n)),
        passed=wire + rng.uniform(-0.5, 0.5, n),
        slope=np.roll(outer - inner, 1),
    )


def _targets(
    s: Simulation, h: Helices, found: Track3D, rng: np.random.Generator
) -> tuple[F64, F32]:
    """Targets and classes; z of fakes is 0, theta that of the finder."""
    n = len(h.event)
    theta = scale_theta(np.degrees(np.arctan2(1, found.cotangent)))
    targets = np.stack([np.zeros(len(theta)), theta], axis=1)
    targets[:n] = make_targets(s, h, rng)
    np.clip(targets, -1, 1, out=targets)
    pt_gev = OMEGA_CM_TIMES_PT_GEV / np.abs(h.omega_per_cm)
    momentum = pt_gev / np.sin(np.radians(theta_to_deg(targets[:n, 1])))
    signal = np.abs(z_to_cm(targets[:n, 0])) <= REAL_Z_CM
    classes = np.full((len(theta), 2), -1, dtype=np.float32)
    classes[:n, 0][signal] = 1
    classes[:n, 1][signal & (momentum >= STT_MOMENTUM_GEV)] = 1
    return targets, classes
