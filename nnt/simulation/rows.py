"""From events to rows of the table, a chunk at a time: both chains.

Rows of the classic chain come without the reference columns. Those of the 3D Hough
chain are of tracks, and of fakes: segments that happen to line up.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from nnt.detector import (
    CLASSIC,
    HOUGH3D,
    ID_RANGES,
    MIN_AXIAL_SUPERLAYERS,
    N_INPUTS,
    N_SUPERLAYERS,
    OMEGA_CM_TIMES_PT_GEV,
    REAL_Z_CM,
    STT_MOMENTUM_GEV,
    SUPERLAYERS,
    T_MAX_TICKS,
    Chain,
    expert_of_pattern,
    id_scaling,
    scale_theta,
    scale_z,
    theta_to_deg,
    z_to_cm,
)
from nnt.simulation.finder import (
    COT_RANGE,
    MAX_INVERSE_PT,
    MAX_OMEGA_COUNT,
    Seeds,
    Track3D,
    find_tracks,
    find_tracks_3d,
    make_segments,
)
from nnt.simulation.parameters import Simulation
from nnt.simulation.population import (
    BACKGROUND,
    Helices,
    Rows,
    make_helices,
    make_rows,
    missing_axial,
)
from nnt.simulation.segments import (
    Hits,
    Segments,
    crossing,
    make_hits,
    make_pattern,
    nearest_wire,
)
from nnt.tracks import Tracks, make_ids
from nnt.tracks.table import FAKE_TYPES, UNNAMED_EVENTS
from nnt.types import F32, F64, I64, BoolArray

CHUNK_EVENTS = 4_000
EVENTS_PER_CHUNK_3D = 100 * CHUNK_EVENTS
"""Numbers kept free for each chunk: fakes of noise are events of their own."""
RUN_NUMBER = 1
MIN_AXIAL_IN_WINDOW = 2
"""Axial segments within their windows: no real row has fewer."""
FILE_DIGITS = 6
"""Significant digits of the numbers in BASF2's files."""
SMALLEST_DIGIT = 10
"""Decimal places after which digits are not distinguished from zero."""
NOISE, CROSSED = FAKE_TYPES
"""Track types: a fake in an event of tracks is of two that cross."""
INNER_SL, OUTER_SL = 2, 6
"""Where such a fake meets its two tracks."""

Arrays = TypeVar("Arrays", Helices, Hits, Seeds)


def make_chunk(s: Simulation, number: int, rng: np.random.Generator) -> Tracks:
    """Make the rows of `CHUNK_EVENTS` events, which are counted through all chunks."""
    helices = make_helices(s, CHUNK_EVENTS, rng)
    rows = make_rows(s, helices, rng)
    hits = [make_hits(i, s, helices, rows, rng) for i in range(N_SUPERLAYERS)]
    found = find_tracks(s, helices, rows, hits[::2], rng)
    segments = [make_segments(i, part, found) for i, part in enumerate(hits)]
    seen = np.array([part.seen for part in segments], dtype=np.int64)
    expert = expert_of_pattern(2 ** np.arange(N_SUPERLAYERS) @ seen)
    axial = np.sum([part.found for part in hits[::2]], axis=0)
    targets = make_targets(s, helices, rng)[rows.helix]
    keep = (expert >= 0) & (axial >= MIN_AXIAL_SUPERLAYERS)
    keep &= seen[::2].sum(axis=0) >= MIN_AXIAL_IN_WINDOW
    keep &= np.all(np.abs(targets) <= 1, axis=1)
    keep &= np.abs(found.omega_count) < MAX_OMEGA_COUNT
    event = helices.event[rows.helix[keep]] + number * CHUNK_EVENTS
    return Tracks(
        ids=_ids(s, event, expert[keep], rng),
        inputs=make_inputs(hits, segments, CLASSIC)[keep],
        targets=as_in_files(targets[keep]),
    )


def make_targets(s: Simulation, h: Helices, rng: np.random.Generator) -> F64:
    """Give what the reconstruction finds of each helix, scaled, shape (N, 2)."""
    n = len(h.event)
    z_error_cm = s.reco_z_std_cm * (h.kind == BACKGROUND) * rng.standard_normal(n)
    theta_deg = np.degrees(h.theta_rad) + s.reco_theta_std_deg * rng.standard_normal(n)
    targets = np.stack([scale_z(h.z_cm + z_error_cm), scale_theta(theta_deg)], axis=1)
    wrong = rng.random(n) < s.reco_wrong_share
    return np.where(wrong[:, None], np.roll(targets, 1, axis=0), targets)


def make_inputs(
    hits: Sequence[Hits],
    segments: Sequence[Segments],
    chain: Chain,
    patterns: Sequence[BoolArray] = (),
) -> F32:
    """Inputs of each row; the earliest segment of a row is its event time.

    All arguments are of SL0 to SL8; patterns, of shape (M, bits) each, are the wires of
    segments that have a signal. The result has the shape (M, 9 * (3 + bits)), and zeros
    where a superlayer has no segment.
    """
    n = len(segments[0].seen)
    n_bits = patterns[0].shape[1] if patterns else 0
    inputs = np.zeros((n, N_SUPERLAYERS, 3 + n_bits), dtype=np.float32)
    event_time = np.full(n, np.inf)
    for hit, part in zip(hits, segments, strict=True):
        np.minimum(event_time, hit.time_ticks, out=event_time, where=part.seen)
    for index, (hit, part) in enumerate(zip(hits, segments, strict=True)):
        scaling = id_scaling(*ID_RANGES[index])
        ticks = np.clip(hit.time_ticks - event_time, 0, T_MAX_TICKS)
        values = (
            scaling.scale * (part.rel_id - scaling.offset),
            hit.side * ticks / T_MAX_TICKS,
            chain.alpha_scale * part.alpha_rad,
        )
        for kind, value in enumerate(values):
            column = np.where(part.seen, value, 0.0)
            inputs[:, index, kind] = as_in_files(column)
        if patterns:
            inputs[:, index, 3:] = patterns[index] & part.seen[:, None]
    return inputs.reshape(n, -1)


def as_in_files(values: F64) -> F32:
    """Round to six significant digits, as a number that went through a file."""
    size = np.abs(values)
    places = np.full(values.shape, FILE_DIGITS)
    for place in range(1, SMALLEST_DIGIT - FILE_DIGITS + 1):
        places += size < 10.0**-place
    shift = 10.0 ** np.arange(SMALLEST_DIGIT + 1)
    factor = shift[places]
    rounded: F32 = (np.rint(values * factor) / factor).astype(np.float32)
    return rounded


def _ids(
    s: Simulation, event: I64, expert: I64, rng: np.random.Generator
) -> npt.NDArray[np.void]:
    """Count the tracks of each event; those that get no row lie before and after."""
    if not len(event):
        return make_ids({}, 0)
    new = np.append(True, event[1:] != event[:-1])
    first = np.flatnonzero(new)
    group = np.cumsum(new) - 1
    n_others = rng.poisson(s.other_tracks_per_event, len(first))
    n_before = rng.integers(0, n_others + 1)
    columns = {
        "Run": np.full(len(event), RUN_NUMBER),
        "Event": event,
        "Track": np.arange(len(event)) - first[group] + n_before[group],
        "nTracks": (np.bincount(group) + n_others)[group],
        "Expert": expert,
    }
    return make_ids(columns, len(event))


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
        rng.uniform(-np.pi, np.pi, n_noise), rng.uniform(-most, most, n_noise)
    )
    hits = _hits(s, helices, crossed, noise, rng.uniform(*COT_RANGE, n_noise), rng)
    seeds = _joined(Seeds(helices.phi_rad, helices.omega_per_cm), crossed.seeds, noise)
    found = find_tracks_3d(s, seeds, hits, rng)
    of_noise = CHUNK_EVENTS + np.arange(n_noise)
    event = np.concatenate([helices.event, helices.event[crossed.first], of_noise])
    targets, classes = _targets(s, helices, found, rng)
    # Of true tracks, 0 is a real one and 1 is background.
    is_far = np.abs(z_to_cm(targets[:n_real, 0])) > REAL_Z_CM
    fakes = np.repeat([CROSSED, NOISE], [n_crossed, n_noise])
    track_type = np.concatenate([is_far, fakes])
    with_patterns = enumerate(hits) if n_inputs > N_INPUTS else ()
    patterns = [make_pattern(i, s, part, pattern_rng) for i, part in with_patterns]
    # Shuffled, so that a table that is cut short holds rows of all types.
    rows = rng.permutation(np.flatnonzero(found.is_track))
    event = event[rows] + number * EVENTS_PER_CHUNK_3D
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
    def joined(name: str) -> Any:
        return np.concatenate([getattr(part, name) for part in parts])

    return replace(parts[0], **{f.name: joined(f.name) for f in fields(parts[0])})


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
