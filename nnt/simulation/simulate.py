"""Helices through the superlayers, seen as the trigger sees them.

Formulas: `docs/simulation.md`; geometry and scaling from `nnt.detector`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from nnt.detector import (
    ALPHA_SCALE,
    ID_RANGES,
    MIN_AXIAL_SUPERLAYERS,
    N_INPUTS,
    N_SUPERLAYERS,
    OMEGA_CM_TIMES_PT_GEV,
    SUPERLAYERS,
    T_MAX_TICKS,
    TRIGGER_TICK_NS,
    Z_RANGE_CM,
    Superlayer,
    expert_of_pattern,
    id_scaling,
    scale_theta,
    scale_z,
    superlayer_inputs,
)
from nnt.errors import ConfigError
from nnt.progress import Progress, silent
from nnt.simulation.parameters import Simulation
from nnt.tracks import Tracks, concatenate, make_ids

__all__ = ["simulate", "simulate_with"]

F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

CHUNK = 50_000
"""Tracks made at a time, so that memory does not grow with their number."""
OMEGA_STEP_PER_CM = 29.9792458 * 1e-4 * 1.5 / 0.3 / 34
PHI_STEP_RAD = np.pi / 160
"""Steps of the 2D track's words (``trg/cdc`` of basf2)."""
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
    if settings.tracks < 1:
        raise ConfigError(
            f"data.simulate.tracks: expected at least 1, found {settings.tracks}"
        )
    rng = np.random.default_rng(np.random.SeedSequence(settings.seed))
    parts: list[Tracks] = []
    done = first_event = 0
    while done < settings.tracks:
        part = _chunk(settings, rng, first_event)
        if not len(part):
            raise ConfigError("data.simulate: no track passes with these settings")
        first_event = int(part.ids["Event"][-1]) + 1
        parts.append(part[: settings.tracks - done])
        done += len(parts[-1])
        progress(done, settings.tracks)
    return concatenate(parts)


@dataclass(frozen=True, slots=True)
class _Helices:
    """True tracks and what the 2D finder makes of them, shape (N,) each."""

    z_cm: F64
    theta_rad: F64
    phi_rad: F64
    omega_per_cm: F64
    found_phi_rad: F64
    found_omega_per_cm: F64


def _population(s: Simulation, rng: np.random.Generator) -> _Helices:
    is_core = rng.random(CHUNK) < s.core_share
    z_std_cm = np.where(is_core, s.core_z_std_cm, s.background_z_std_cm)
    cosines = np.cos(np.radians([s.theta_max_deg, s.theta_min_deg]))
    pt_gev = s.pt_min_gev + rng.exponential(s.pt_mean_above_min_gev, CHUNK)
    charge = rng.choice([-1.0, 1.0], CHUNK)
    omega = charge * OMEGA_CM_TIMES_PT_GEV / pt_gev
    phi = rng.uniform(-np.pi, np.pi, CHUNK)
    smeared_phi = phi + rng.normal(0, s.phi_std_rad, CHUNK)
    smeared_omega = omega + rng.normal(0, s.omega_std_per_cm, CHUNK)
    return _Helices(
        z_cm=rng.normal(0, 1, CHUNK) * z_std_cm,
        theta_rad=np.arccos(rng.uniform(cosines[0], cosines[1], CHUNK)),
        phi_rad=phi,
        omega_per_cm=omega,
        found_phi_rad=np.round(smeared_phi / PHI_STEP_RAD) * PHI_STEP_RAD,
        found_omega_per_cm=(
            np.round(smeared_omega / OMEGA_STEP_PER_CM) * OMEGA_STEP_PER_CM
        ),
    )


def _chunk(s: Simulation, rng: np.random.Generator, first_event: int) -> Tracks:
    helices = _population(s, rng)
    inputs = np.zeros((CHUNK, N_INPUTS))
    pattern = np.zeros(CHUNK, dtype=np.int64)
    for superlayer in SUPERLAYERS:
        seen, values = _segments(superlayer, helices, s, rng)
        inputs[:, superlayer_inputs(superlayer.index)] = np.where(
            seen[:, None], values, 0.0
        )
        pattern |= seen.astype(np.int64) << superlayer.index
    expert = expert_of_pattern(pattern)
    axial = sum((pattern >> sl) & 1 for sl in range(0, N_SUPERLAYERS, 2))
    reco_z_cm = helices.z_cm + rng.normal(0, s.reco_z_std_cm, CHUNK)
    theta_deg = np.degrees(helices.theta_rad)
    theta_deg += rng.normal(0, s.reco_theta_std_deg, CHUNK)
    event = first_event + np.cumsum(rng.random(CHUNK) < 1 / s.tracks_per_event)
    keep = (expert >= 0) & (axial >= MIN_AXIAL_SUPERLAYERS)
    keep &= np.abs(reco_z_cm) < Z_RANGE_CM[1]
    targets = np.stack([scale_z(reco_z_cm), scale_theta(theta_deg)], axis=1)[keep]
    return Tracks(
        ids=_ids(event[keep], expert[keep]),
        inputs=inputs[keep].astype(np.float32),
        targets=targets.astype(np.float32),
    )


def _ids(event: I64, expert: I64) -> npt.NDArray[np.void]:
    new = np.append(True, event[1:] != event[:-1])
    first = np.flatnonzero(new)
    group = np.cumsum(new) - 1
    columns = {
        "Run": np.full(len(event), RUN_NUMBER),
        "Event": event,
        "Track": np.arange(len(event)) - first[group],
        "nTracks": np.bincount(group)[group],
        "Expert": expert,
    }
    return make_ids(columns, len(event))


def _segments(
    superlayer: Superlayer, h: _Helices, s: Simulation, rng: np.random.Generator
) -> tuple[BoolArray, F64]:
    """Whether a superlayer has a hit, and its three inputs, shape (N, 3)."""
    radius_cm = superlayer.radius_cm[0]
    wires_per_rad = superlayer.n_wires / (2 * np.pi)
    half_chord = radius_cm * h.omega_per_cm / 2
    reached = np.abs(half_chord) < 1
    alpha = np.arcsin(np.clip(half_chord, -1, 1))
    z_cm = h.z_cm + 2 * alpha / h.omega_per_cm / np.tan(h.theta_rad)
    backward_cm, forward_cm = superlayer.z_backward_cm[0], superlayer.z_forward_cm[0]
    fraction = (z_cm - backward_cm) / (forward_cm - backward_cm)
    reached &= (fraction > 0) & (fraction < 1)
    place = (h.phi_rad - alpha) * wires_per_rad
    place -= fraction * superlayer.shift_half_cells / 2
    wire = np.round(place)
    found_alpha = _found_alpha(radius_cm, h.found_omega_per_cm)
    rel_id = wire - (h.found_phi_rad - found_alpha) * wires_per_rad
    lower, upper = ID_RANGES[superlayer.index]
    wrong = rng.random(CHUNK) < s.wrong_segment_share
    rel_id = np.where(wrong, rng.uniform(lower, upper, CHUNK), rel_id)
    scaling = id_scaling(lower, upper)
    values = np.stack(
        [
            scaling.scale * (rel_id - scaling.offset),
            _drift_input((place - wire) / wires_per_rad * radius_cm, s, rng),
            ALPHA_SCALE * found_alpha,
        ],
        axis=1,
    )
    seen = reached & (rng.random(CHUNK) < s.hit_efficiency)
    return seen & (rel_id >= lower) & (rel_id <= upper), values


def _found_alpha(radius_cm: float, omega_per_cm: F64) -> F64:
    half_chord = radius_cm * omega_per_cm / 2
    inside = np.abs(half_chord) < 1
    alpha: F64 = np.where(inside, np.arcsin(np.clip(half_chord, -1, 1)), np.pi / 2)
    return alpha


def _drift_input(distance_cm: F64, s: Simulation, rng: np.random.Generator) -> F64:
    """Signed drift time over the largest one; 0 where the side is undecided."""
    cm_per_tick = s.drift_velocity_cm_per_ns * TRIGGER_TICK_NS
    ticks = np.abs(distance_cm) / cm_per_tick + rng.normal(0, s.time_std_ticks, CHUNK)
    ticks = np.clip(np.round(ticks), 0, T_MAX_TICKS)
    # Left is +1: the track passes at larger azimuth than the wire, as real rows show.
    side = np.sign(distance_cm)
    side = np.where(rng.random(CHUNK) < s.wrong_side_share, -side, side)
    side = np.where(rng.random(CHUNK) < s.undecided_share, 0, side)
    drift: F64 = side * ticks / T_MAX_TICKS
    return drift
