"""Every number of the simulation that is a choice."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Simulation"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Simulation:
    """Population of tracks and response of the detector.

    The defaults give spectra of the right kind; they are not a fit to data.
    """

    tracks: int = 100_000
    """Rows to make."""
    seed: int = 1
    """Root of the random numbers."""
    tracks_per_event: float = 3.0
    """Mean number of tracks in an event."""
    core_share: float = 0.45
    """Share of tracks from the collision point."""
    core_z_std_cm: float = 0.7
    """Spread of their z."""
    background_z_std_cm: float = 40.0
    """Spread of z of the other tracks, from the beam pipe."""
    pt_min_gev: float = 0.3
    """Lowest transverse momentum that the 2D finder takes."""
    pt_mean_above_min_gev: float = 0.5
    """Mean of the exponential spectrum above that."""
    theta_min_deg: float = 20.0
    theta_max_deg: float = 145.0
    """Polar angles, uniform in the cosine."""
    hit_efficiency: float = 0.95
    """Probability of a track segment in a superlayer that is crossed."""
    wrong_segment_share: float = 0.08
    """Share of segments that belong to something else: a random wire of the window."""
    undecided_share: float = 0.35
    """Share of segments whose left/right is unknown: drift input 0."""
    wrong_side_share: float = 0.03
    """Share of segments with the wrong side."""
    drift_velocity_cm_per_ns: float = 4.0e-3
    """Commonly used mean; not in the public sources of basf2."""
    time_std_ticks: float = 4.0
    """Error of drift and event time together."""
    phi_std_rad: float = 0.01
    """Error of the 2D track's azimuth, beside its quantisation."""
    omega_std_per_cm: float = 1.5e-4
    """Error of the 2D track's curvature, beside its quantisation."""
    reco_z_std_cm: float = 0.2
    """Resolution of the reconstruction that gives the targets."""
    reco_theta_std_deg: float = 0.2
