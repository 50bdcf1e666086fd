"""Tables of simulated tracks, made in chunks."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from nnt.detector import (
    ALPHA_SCALE,
    ID_RANGES,
    MIN_AXIAL_SUPERLAYERS,
    N_INPUTS,
    N_SUPERLAYERS,
    T_MAX_TICKS,
    expert_of_pattern,
    id_scaling,
    scale_theta,
    scale_z,
)
from nnt.errors import ConfigError
from nnt.progress import Progress, silent
from nnt.simulation.parameters import Simulation
from nnt.simulation.population import (
    MAX_OMEGA_COUNT,
    Helices,
    make_helices,
    make_rows,
)
from nnt.simulation.segments import Segments, find_segments
from nnt.tracks import Tracks, concatenate, make_ids

__all__ = ["simulate", "simulate_with"]

F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

CHUNK_EVENTS = 4_000
"""Events made at a time, so that memory does not grow with their number."""
RUN_NUMBER = 1


def simulate(tracks: int, seed: int = 1, progress: Progress = silent) -> Tracks:
    """Make a table of tracks from the detector's geometry alone.

    Parameters
    ----------
    tracks : int
        Rows to make.
    seed : int
        Same seed and version, same rows.
    progress : Progress
        Called with rows done and rows in all.
    """
    return simulate_with(Simulation(tracks=tracks, seed=seed), progress)


def simulate_with(settings: Simulation, progress: Progress = silent) -> Tracks:
    """Make a table of tracks with settings of one's own.

    Raises
    ------
    ConfigError
        Fewer than one track is asked for, or the settings let none pass.
    """
    rng = np.random.default_rng(np.random.SeedSequence(settings.seed))
    parts: list[Tracks] = []
    done = first_event = 0
    while done < settings.tracks:
        part = _chunk(settings, rng, first_event)
        if not len(part):
            raise ConfigError("data.simulate: no track passes with these settings")
        first_event += CHUNK_EVENTS
        parts.append(part[: settings.tracks - done])
        done += len(parts[-1])
        progress(done, settings.tracks)
    return concatenate(parts)


def _chunk(s: Simulation, rng: np.random.Generator, first_event: int) -> Tracks:
    helices = make_helices(s, CHUNK_EVENTS, rng)
    rows = make_rows(s, helices, rng)
    segments = [find_segments(i, s, helices, rows, rng) for i in range(N_SUPERLAYERS)]
    pattern = np.zeros(len(rows.helix), dtype=np.int64)
    for index, part in enumerate(segments):
        pattern |= part.seen.astype(np.int64) << index
    expert = expert_of_pattern(pattern)
    axial = sum(part.found.astype(np.int64) for part in segments[::2])
    targets = _targets(s, helices, rng)[rows.helix]
    keep = (expert >= 0) & (axial >= MIN_AXIAL_SUPERLAYERS)
    keep &= np.abs(targets[:, 0]) <= 1
    keep &= np.abs(rows.omega_count) < MAX_OMEGA_COUNT
    inputs = _inputs(segments)
    event = helices.event[rows.helix[keep]]
    return Tracks(
        ids=_ids(s, event, expert[keep], first_event, rng),
        inputs=inputs[keep],
        targets=targets[keep].astype(np.float32),
    )


def _targets(s: Simulation, h: Helices, rng: np.random.Generator) -> F64:
    n = len(h.event)
    z_error_cm = s.reco_z_std_cm * h.is_background * rng.standard_normal(n)
    theta_deg = np.degrees(h.theta_rad) + s.reco_theta_std_deg * rng.standard_normal(n)
    return np.stack([scale_z(h.z_cm + z_error_cm), scale_theta(theta_deg)], axis=1)


def _inputs(segments: list[Segments]) -> F32:
    """The 27 inputs of each row; the earliest segment of a row is its event time."""
    n = len(segments[0].seen)
    inputs = np.zeros((n, N_INPUTS), dtype=np.float32)
    event_time = np.full(n, np.inf)
    for part in segments:
        np.minimum(event_time, part.time_ticks, out=event_time, where=part.seen)
    for index, part in enumerate(segments):
        scaling = id_scaling(*ID_RANGES[index])
        ticks = np.clip(part.time_ticks - event_time, 0, T_MAX_TICKS)
        values = (
            scaling.scale * (part.rel_id - scaling.offset),
            part.side * ticks / T_MAX_TICKS,
            ALPHA_SCALE * part.alpha_rad,
        )
        for kind, value in enumerate(values):
            inputs[:, 3 * index + kind] = np.where(part.seen, value, 0.0)
    return inputs


def _ids(
    s: Simulation, event: I64, expert: I64, first_event: int, rng: np.random.Generator
) -> npt.NDArray[np.void]:
    new = np.append(True, event[1:] != event[:-1])
    first = np.flatnonzero(new)
    group = np.cumsum(new) - 1
    n_others = rng.poisson(s.other_tracks_per_event, len(first))
    n_before = rng.integers(0, n_others + 1)
    columns = {
        "Run": np.full(len(event), RUN_NUMBER),
        "Event": event + first_event,
        "Track": np.arange(len(event)) - first[group] + n_before[group],
        "nTracks": (np.bincount(group) + n_others)[group],
        "Expert": expert,
    }
    return make_ids(columns, len(event))
