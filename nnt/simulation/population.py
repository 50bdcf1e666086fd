"""Events, their tracks, and the rows that the 2D finder makes of each track."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nnt.detector import OMEGA_CM_TIMES_PT_GEV
from nnt.simulation.parameters import Simulation
from nnt.types import F64, I64, BoolArray

MIN_OMEGA_PER_CM = 1e-6
COLLISION, CROWD, BACKGROUND = range(3)
"""Kinds of tracks: of collisions with one or two, with more tracks, of neither."""


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
    kind: I64
    """Row of the lists that depend on it: `COLLISION`, `CROWD`, `BACKGROUND`."""
    mess: F64
    """Factor on the shares of wrong segments and times of this track."""
    scatter: F64
    """Factor on how far it passes from a helix; 0 for tracks of collisions."""


@dataclass(frozen=True, slots=True)
class Rows:
    """Each time that the 2D finder finds a track, shape (M,) each.

    Rows of a helix are neighbours.
    """

    helix: I64
    first: I64
    """The first row of the same helix."""
    missing_axial: I64
    """Axial superlayer that the 2D track lacks, or -1."""


def _choice(rng: np.random.Generator, shares: tuple[float, ...], n: int) -> I64:
    edges = np.cumsum(shares)
    chosen: I64 = np.searchsorted(edges / edges[-1], rng.random(n), side="right")
    return chosen


def make_helices(s: Simulation, n_events: int, rng: np.random.Generator) -> Helices:
    """Draw events and their tracks."""
    is_background = rng.random(n_events) >= s.collision_event_share
    of_background = _choice(rng, s.background_tracks_share, n_events)
    of_collision = _choice(rng, s.collision_tracks_share, n_events)
    n_tracks = 1 + np.where(is_background, of_background, of_collision)
    origin = _choice(rng, s.background_share, n_events)
    far_cm = np.take(s.background_z_std_cm, origin) * rng.standard_normal(n_events)
    far_cm += np.take(s.background_z_cm, origin)
    near_cm = s.collision_z_cm + s.collision_z_std_cm * rng.standard_normal(n_events)
    vertex_z_cm = np.where(is_background, far_cm, near_cm)
    event = np.repeat(np.arange(n_events), n_tracks)
    n = len(event)
    background, origin = is_background[event], origin[event]
    jitter_cm = s.background_z_jitter_cm * background
    d0_cm = np.take(s.background_d0_std_cm, origin) * background
    # One track, two, more: what they are differs.
    number = np.minimum(n_tracks[event], 3) - 1
    return Helices(
        event=event,
        z_cm=vertex_z_cm[event] + jitter_cm * rng.standard_normal(n),
        theta_rad=np.where(
            background,
            _background_theta(s, origin, rng),
            _collision_theta(s, number, rng),
        ),
        phi_rad=rng.uniform(-np.pi, np.pi, n),
        omega_per_cm=_curvature(s, background, number, rng),
        d0_cm=d0_cm * rng.standard_normal(n),
        kind=np.where(background, BACKGROUND, np.where(number == 2, CROWD, COLLISION)),
        mess=_mess(s, n, rng)
        * np.where(background, np.take(s.background_mess_factor, origin), 1.0),
        scatter=np.where(background, np.take(s.background_scatter_factor, origin), 0.0),
    )


def _mess(s: Simulation, n: int, rng: np.random.Generator) -> F64:
    share, factor = s.messy_track_share, s.messy_factor
    others = max(1 - share * factor, 0) / max(1 - share, 1e-9)
    return np.where(rng.random(n) < share, factor, others)


def _collision_theta(s: Simulation, number: I64, rng: np.random.Generator) -> F64:
    """Draw from the histogram of each kind, its bins flat in the cosine."""
    cosine = np.cos(np.radians(s.collision_theta_edges_deg))
    drawn = rng.random(len(number))
    shares = (s.single_theta_share, s.pair_theta_share, s.hadron_theta_share)
    theta = np.empty(len(number))
    for case, share in enumerate(shares):
        mine = number == case
        integral = np.append(0.0, np.cumsum(share)) / np.sum(share)
        theta[mine] = np.arccos(np.interp(drawn[mine], integral, cosine))
    return theta


def _background_theta(s: Simulation, origin: I64, rng: np.random.Generator) -> F64:
    spread = np.take(s.background_theta_std_deg, origin)
    theta = np.take(s.background_theta_deg, origin)
    theta = theta + spread * rng.standard_normal(len(origin))
    limited: F64 = np.radians(np.clip(theta, *s.track_theta_deg))
    return limited


def _curvature(
    s: Simulation, background: BoolArray, number: I64, rng: np.random.Generator
) -> F64:
    n = len(background)
    stiff = rng.random(n) < np.take(s.collision_stiff_share, number)
    others = s.collision_stiff_inverse_pt, s.collision_inverse_pt
    which = np.where(background, 0, np.where(stiff, 1, 2))
    mean, spread = np.take((s.background_inverse_pt, *others), which, axis=0).T
    # Folded at zero: a spectrum has no negative momenta.
    inverse_pt = np.abs(mean + spread * rng.standard_normal(n))
    shares = s.background_positive_share, s.collision_positive_share
    charge = np.where(rng.random(n) < np.where(background, *shares), 1.0, -1.0)
    size = np.maximum(inverse_pt * OMEGA_CM_TIMES_PT_GEV, MIN_OMEGA_PER_CM)
    omega: F64 = charge * size
    return omega


def make_rows(s: Simulation, h: Helices, rng: np.random.Generator) -> Rows:
    """Decide how often each track is found, and which axial superlayer is missing."""
    n_rows = 1 + _choice(rng, s.rows_per_track_share, len(h.event))
    helix = np.repeat(np.arange(len(n_rows)), n_rows)
    first, n = (np.cumsum(n_rows) - n_rows)[helix], len(helix)
    missing = missing_axial(s, n, rng)
    again = np.where(rng.random(n) < s.same_missing_share, first, np.arange(n))
    return Rows(helix=helix, first=first, missing_axial=missing[again])


def missing_axial(s: Simulation, n: int, rng: np.random.Generator) -> I64:
    """Draw the axial superlayer that each of n rows lacks, -1 for none."""
    none = 1 - sum(s.axial_missing_share)
    missing = _choice(rng, (*s.axial_missing_share, none), n)
    return np.where(missing < len(s.axial_missing_share), 2 * missing, -1)
