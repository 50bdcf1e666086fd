"""From events to rows of the table: one chunk, without the reference columns."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from nnt.detector import (
    CLASSIC,
    ID_RANGES,
    MIN_AXIAL_SUPERLAYERS,
    N_SUPERLAYERS,
    T_MAX_TICKS,
    Chain,
    expert_of_pattern,
    id_scaling,
    scale_theta,
    scale_z,
)
from nnt.simulation.finder import MAX_OMEGA_COUNT, find_tracks, make_segments
from nnt.simulation.parameters import Simulation
from nnt.simulation.population import BACKGROUND, Helices, make_helices, make_rows
from nnt.simulation.segments import Hits, Segments, make_hits
from nnt.tracks import Tracks, make_ids
from nnt.types import F32, F64, I64, BoolArray

CHUNK_EVENTS = 4_000
RUN_NUMBER = 1
MIN_AXIAL_IN_WINDOW = 2
"""Axial segments within their windows: no real row has fewer."""
FILE_DIGITS = 6
"""Significant digits of the numbers in BASF2's files."""
SMALLEST_DIGIT = 10
"""Decimal places after which digits are not distinguished from zero."""


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
