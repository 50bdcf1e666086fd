"""Events, their tracks, and the rows that the 2D finder makes of each track."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from nnt.detector import OMEGA_CM_TIMES_PT_GEV
from nnt.simulation.parameters import Simulation

__all__ = ["Helices", "Rows", "make_helices", "make_rows"]

F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

OMEGA_STEP_PER_CM = OMEGA_CM_TIMES_PT_GEV / 0.3 / 34
PHI_STEPS = 320
PHI_STEP_RAD = 2 * np.pi / PHI_STEPS
"""Steps of the 2D track's words (``trg/cdc`` of basf2)."""
MAX_OMEGA_COUNT = 34
MIN_OMEGA_PER_CM = 1e-6


@dataclass(frozen=True, slots=True)
class Helices:
    """True tracks, shape (N,) each."""

    event: I64
    z_cm: F64
    """Where the track is closest to the beam axis."""
    theta_rad: F64
    phi_rad: F64
    omega_per_cm: F64
    """Signed curvature, positive for positive charge."""
    d0_cm: F64
    """Distance from the beam axis, positive towards larger azimuth."""
    is_background: BoolArray
    mess: F64
    """Factor on the shares of wrong segments and times."""


@dataclass(frozen=True, slots=True)
class Rows:
    """Tracks of the 2D finder, shape (M,) each; rows of a helix are neighbours."""

    helix: I64
    first: I64
    """The first row of the same helix."""
    omega_count: I64
    phi_count: I64
    """Curvature and azimuth as the finder's words hold them."""
    missing_axial: I64
    """Axial superlayer that the 2D track lacks, or -1."""


def _choice(rng: np.random.Generator, shares: tuple[float, ...], n: int) -> I64:
    edges = np.cumsum(shares)
    chosen: I64 = np.searchsorted(edges / edges[-1], rng.random(n), side="right")
    return chosen


def make_helices(s: Simulation, n_events: int, rng: np.random.Generator) -> Helices:
    """Draw events and their tracks."""
    is_background = rng.random(n_events) >= s.collision_event_share
    n_tracks = 1 + np.where(
        is_background,
        _choice(rng, s.background_tracks_share, n_events),
        _choice(rng, s.collision_tracks_share, n_events),
    )
    origin = _choice(rng, s.background_share, n_events)
    vertex_z_cm = np.where(
        is_background,
        np.take(s.background_z_cm, origin)
        + np.take(s.background_z_std_cm, origin) * rng.standard_normal(n_events),
        s.collision_z_cm + s.collision_z_std_cm * rng.standard_normal(n_events),
    )
    event = np.repeat(np.arange(n_events), n_tracks)
    n = len(event)
    background, origin = is_background[event], origin[event]
    jitter_cm = s.background_z_jitter_cm * background
    d0_cm = np.take(s.background_d0_std_cm, origin) * background
    return Helices(
        event=event,
        z_cm=vertex_z_cm[event] + jitter_cm * rng.standard_normal(n),
        theta_rad=np.where(
            background, _background_theta(s, origin, rng), _collision_theta(s, n, rng)
        ),
        phi_rad=rng.uniform(-np.pi, np.pi, n),
        omega_per_cm=_curvature(s, background, rng),
        d0_cm=d0_cm * rng.standard_normal(n),
        is_background=background,
        mess=_mess(s, n, rng),
    )


def _mess(s: Simulation, n: int, rng: np.random.Generator) -> F64:
    share, factor = s.messy_track_share, s.messy_factor
    others = max(1 - share * factor, 0) / max(1 - share, 1e-9)
    mess: F64 = np.where(rng.random(n) < share, factor, others)
    return mess


def _collision_theta(s: Simulation, n: int, rng: np.random.Generator) -> F64:
    lower, upper = np.sort(np.cos(np.radians(s.collision_theta_deg)))
    cosine = np.linspace(lower, upper, 201)
    density = 1 + s.collision_forward * np.maximum(cosine, 0) ** 2
    integral = np.cumsum(density) - density[0]
    drawn = np.interp(rng.random(n) * integral[-1], integral, cosine)
    theta: F64 = np.arccos(drawn)
    return theta


def _background_theta(s: Simulation, origin: I64, rng: np.random.Generator) -> F64:
    spread = np.take(s.background_theta_std_deg, origin)
    theta = np.take(s.background_theta_deg, origin)
    theta = theta + spread * rng.standard_normal(len(origin))
    limited: F64 = np.radians(np.clip(theta, *s.collision_theta_deg))
    return limited


def _curvature(s: Simulation, background: BoolArray, rng: np.random.Generator) -> F64:
    n = len(background)
    pair = rng.random(n) < s.collision_pair_share
    kinds = (
        s.background_inverse_pt,
        s.collision_pair_inverse_pt,
        s.collision_inverse_pt,
    )
    kind = np.where(background, 0, np.where(pair, 1, 2))
    mean, spread = np.take(kinds, kind, axis=0).T
    # Folded at zero: a spectrum has no negative momenta.
    inverse_pt = np.abs(mean + spread * rng.standard_normal(n))
    positive = np.where(
        background, s.background_positive_share, s.collision_positive_share
    )
    charge = np.where(rng.random(n) < positive, 1.0, -1.0)
    omega: F64 = charge * np.maximum(
        inverse_pt * OMEGA_CM_TIMES_PT_GEV, MIN_OMEGA_PER_CM
    )
    return omega


def make_rows(s: Simulation, h: Helices, rng: np.random.Generator) -> Rows:
    """Let the 2D finder find each track, some of them several times."""
    n_rows = 1 + _choice(rng, s.rows_per_track_share, len(h.event))
    helix = np.repeat(np.arange(len(n_rows)), n_rows)
    start = np.cumsum(n_rows) - n_rows
    first = start[helix]
    n = len(helix)
    # A track beside the beam axis looks like one from it with another direction.
    inner_cm, outer_cm = s.finder_radius_cm
    tilt = -h.d0_cm / (inner_cm * outer_cm)
    offset = h.d0_cm * (1 / inner_cm + 1 / outer_cm)
    omega = h.omega_per_cm - 2 * tilt
    phi = h.phi_rad + offset
    omega_error = s.omega_std_track_per_cm * rng.standard_normal(len(omega))
    row_error = s.omega_std_row_per_cm * rng.standard_normal(n)
    omega_error = omega_error[helix] + row_error
    lever = s.pivot_radius_cm / 2
    phi_found = phi[helix] + omega_error * lever
    phi_found += s.phi_std_rad * rng.standard_normal(n)
    omega_count = np.rint((omega[helix] + omega_error) / OMEGA_STEP_PER_CM)
    phi_count = np.rint(phi_found / PHI_STEP_RAD)
    same = rng.random(n) < s.same_track_share
    chosen = np.where(same, first, np.arange(n))
    none = 1 - sum(s.axial_missing_share)
    missing = _choice(rng, (*s.axial_missing_share, none), n)
    missing = np.where(missing < len(s.axial_missing_share), 2 * missing, -1)
    again = np.where(rng.random(n) < s.same_missing_share, first, np.arange(n))
    return Rows(
        missing_axial=missing[again],
        helix=helix,
        first=first,
        omega_count=omega_count.astype(np.int64)[chosen],
        phi_count=phi_count.astype(np.int64)[chosen],
    )
