"""Every number of the simulation that is a choice."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

from nnt.errors import ConfigError

PerSuperlayer = tuple[float, ...]
PerOrigin = tuple[float, ...]
PerAngle = tuple[float, ...]
PerThetaBin = tuple[float, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Simulation:
    """Population of tracks, response of the detector, and track finding.

    Units are in the names; shares, factors and probabilities have none. Lists by
    `PerOrigin` have one value per place where beam background comes from, by
    `PerSuperlayer` one per superlayer, SL0 first, by `PerThetaBin` one per bin of the
    polar angle. Where a field says nothing else of its origin, it was tuned to the
    distributions of 3049 real rows of two runs of 2020 (`docs/simulation.md`); what
    the geometry fixes stands in `nnt.detector`.
    """

    tracks: int = 100_000
    """Rows to make."""
    seed: int = 1
    """Root of the random numbers."""

    collision_event_share: float = 0.35
    """Share of events from the collision point; the others are beam background."""
    collision_tracks_share: tuple[float, ...] = (0.46, 0.40, 0.035, 0.035, 0.02, 0.01)
    """Share of collision events with 1, 2, ... tracks in the chamber."""
    background_tracks_share: tuple[float, ...] = (0.79, 0.18, 0.02, 0.01)
    """The same for events of beam background."""
    rows_per_track_share: tuple[float, ...] = (0.33, 0.32, 0.19, 0.11, 0.05)
    """Share of tracks that the 2D finder gives 1, 2, ... times."""
    other_tracks_per_event: float = 1.2
    """Mean number of trigger tracks in an event without a reconstructed one."""

    collision_z_cm: float = 0.015
    """Mean z of collisions."""
    collision_z_std_cm: float = 0.06
    """Spread of z of collisions, resolution of the reconstruction included."""
    collision_theta_edges_deg: tuple[float, ...] = (
        17.0, 25.0, 35.0, 45.0, 55.0, 70.0, 90.0, 110.0, 125.0, 140.0, 150.0,
    )  # fmt: skip
    """Edges of the bins of the polar angle for the lists that follow; flat between
    them in its cosine."""
    single_theta_share: PerThetaBin = (
        0.04, 0.22, 0.18, 0.09, 0.12, 0.13, 0.11, 0.08, 0.02, 0.01,
    )  # fmt: skip
    """Share of polar angles where one track of a collision is in the chamber: most
    others have gone forwards."""
    pair_theta_share: PerThetaBin = (
        0.01, 0.05, 0.18, 0.12, 0.12, 0.14, 0.18, 0.17, 0.02, 0.01,
    )  # fmt: skip
    """The same for two tracks: e+e- -> e+e-, mu+mu-, which are back to back."""
    hadron_theta_share: PerThetaBin = (
        0.02, 0.09, 0.10, 0.12, 0.19, 0.23, 0.15, 0.08, 0.01, 0.01,
    )  # fmt: skip
    """The same for three tracks and more."""
    collision_stiff_share: tuple[float, float, float] = (0.12, 0.57, 0.02)
    """Share of tracks from e+e- -> e+e-, mu+mu- in collisions with one, two, more
    tracks."""
    collision_stiff_inverse_pt: tuple[float, float] = (0.24, 0.075)
    """Mean and spread of 1/pt (1/GeV) of those."""
    collision_inverse_pt: tuple[float, float] = (1.30, 0.75)
    """Mean and spread of 1/pt (1/GeV) of the other collision tracks."""
    collision_positive_share: float = 0.47
    """Share of positive charge among collision tracks."""

    background_share: PerOrigin = (0.07, 0.185, 0.26, 0.14, 0.22, 0.08, 0.045)
    """Share of background events from each place along the beam pipe."""
    background_z_cm: PerOrigin = (-35.0, -8.7, 21.5, 51.0, 56.2, 66.0, 88.0)
    """Its mean z, the peaks of real rows."""
    background_z_std_cm: PerOrigin = (21.0, 2.6, 11.0, 7.5, 1.6, 2.6, 7.5)
    """Its spread in z."""
    track_theta_deg: tuple[float, float] = (17.0, 150.0)
    """Range of the polar angle that the chamber covers."""
    background_theta_deg: PerOrigin = (72.0, 101.0, 103.0, 108.0, 112.0, 106.0, 101.0)
    """Mean polar angle of its tracks."""
    background_theta_std_deg: PerOrigin = (28.0, 26.0, 27.0, 22.0, 17.0, 24.0, 22.0)
    """Spread of that angle."""
    background_inverse_pt: tuple[float, float] = (1.85, 0.72)
    """Mean and spread of 1/pt (1/GeV): slow protons, most of them."""
    background_positive_share: float = 0.88
    """Share of positive charge: knocked-out protons."""
    background_d0_std_cm: PerOrigin = (1.3, 0.7, 1.1, 1.6, 2.1, 2.1, 2.1)
    """Spread of the distance of its tracks from the beam axis."""
    background_scatter_factor: PerOrigin = (1.5, 0.6, 0.8, 1.5, 1.5, 1.5, 1.5)
    """Factor on `background_scatter_wires`: tracks from afar cross more material."""
    background_mess_factor: PerOrigin = (1.2, 0.91, 1.04, 1.2, 1.2, 1.2, 1.2)
    """The same for `background_mess` and `background_wrong_share`."""
    background_z_jitter_cm: float = 1.0
    """Spread of z among the background tracks of one event."""

    collision_mess: float = 0.78
    """Factor on the shares of segments of the next wire and of wrong times, for
    collisions with one or two tracks."""
    crowd_mess: float = 2.5
    """The same for collisions with more."""
    background_mess: float = 1.32
    """The same for beam background."""
    messy_track_share: float = 0.12
    """Share of tracks in busy surroundings: overlaps, scattering, decays."""
    messy_factor: float = 5.0
    """What these multiply that factor and the shares of wrong segments by; the others
    have less, so that the mean stays."""
    undecided_mess: float = 0.25
    """How much of that factor the share of unknown sides follows: at 0 it is the same
    for all tracks, at 1 proportional to the factor."""
    wrong_side_mess: float = 0.36
    """The same for the share of wrong sides."""
    axial_missing_share: tuple[float, ...] = (0.12, 0.06, 0.06, 0.09, 0.24)
    """Share of rows whose 2D track lacks the segment of SL0, 2, 4, 6, 8."""
    stereo_dead_share: tuple[float, ...] = (0.03, 0.14, 0.03, 0.07)
    """Share of tracks without any segment in SL1, 3, 5, 7, whatever the track: dead
    channels and boards."""
    stereo_lost_share: tuple[float, ...] = (0.035, 0.02, 0.025, 0.025)
    """The same for other reasons, more often for messy tracks (`messy_factor`)."""
    background_scatter_wires: PerSuperlayer = (
        0.14, 0.19, 0.15, 0.093, 0.14, 0.127, 0.15, 0.058, 0.14,
    )  # fmt: skip
    """How far tracks of beam background pass from where a helix would: slow particles,
    which scatter and lose energy on their way."""
    collision_wrong_share: PerSuperlayer = (
        0.03, 0.10, 0.01, 0.03, 0.01, 0.045, 0.015, 0.03, 0.03,
    )  # fmt: skip
    """Share of segments of something else, any wire of the window, for collisions with
    one or two tracks."""
    crowd_wrong_share: PerSuperlayer = (
        0.125, 0.50, 0.037, 0.40, 0.037, 0.217, 0.075, 0.467, 0.15,
    )  # fmt: skip
    """The same for collisions with more: the other tracks have segments there too."""
    background_wrong_share: PerSuperlayer = (
        0.06, 0.21, 0.02, 0.09, 0.02, 0.085, 0.035, 0.11, 0.07,
    )  # fmt: skip
    """The same for beam background."""
    segment_neighbour_share: PerSuperlayer = (
        0.27, 0.12, 0.137, 0.05, 0.10, 0.04, 0.10, 0.06, 0.216,
    )  # fmt: skip
    """Share of segments of the next wire on the side of the track."""
    segment_shift_wires: PerSuperlayer = (
        0.09, 0.05, 0.08, 0.0, 0.04, 0.05, 0.02, -0.01, 0.0,
    )  # fmt: skip
    """Mean distance of segments from where the nominal geometry has them."""
    segment_second_share: PerSuperlayer = (
        0.29, 0.32, 0.14, 0.23, 0.14, 0.21, 0.10, 0.16, 0.09,
    )  # fmt: skip
    """Share of segments by their second priority layer."""
    second_layer_bias: float = 4.0
    """How strongly the second priority layer prefers the tracks that pass far from its
    wire on the side that they lean to; at 0 not at all, at 4 a quarter of the width of
    a cell on the other side is left out."""
    second_layer_bias_rad: float = 0.061
    """Crossing angle from which that holds in full."""

    side_angle_rad: PerAngle = (
        -0.4, -0.3, -0.2, -0.1, 0.0, 0.1, 0.2, 0.3, 0.4, 0.45, 0.55,
    )  # fmt: skip
    """Crossing angles of the left/right lists that follow; between them, straight
    lines. The tables of the hardware prefer tracks from the collision point that are
    stiff, and the magnetic field makes the two charges differ."""
    undecided_axial: PerAngle = (
        0.49, 0.44, 0.60, 0.60, 0.29, 0.225, 0.225, 0.16, 0.27, 0.29, 0.29,
    )  # fmt: skip
    """Share of first priority segments of unknown side, axial superlayers."""
    undecided_stereo: PerAngle = (
        0.18, 0.16, 0.32, 0.37, 0.13, 0.12, 0.15, 0.09, 0.13, 0.11, 0.09,
    )  # fmt: skip
    """The same in stereo superlayers."""
    undecided_inner: float = 0.225
    """The same in SL0, whose tracks hardly lean."""
    wrong_if_left: PerAngle = (
        0.20, 0.25, 0.30, 0.12, 0.02, 0.04, 0.20, 0.45, 0.50, 0.35, 0.12,
    )  # fmt: skip
    """Share of wrong sides where the track passes left of a first priority wire, axial
    superlayers."""
    wrong_if_right: PerAngle = (
        0.21, 0.50, 0.615, 0.09, 0.015, 0.023, 0.09, 0.31, 0.385, 0.27, 0.054,
    )  # fmt: skip
    """The same where it passes right."""
    wrong_if_left_stereo: PerAngle = (
        0.40, 0.50, 0.30, 0.12, 0.02, 0.04, 0.10, 0.22, 0.25, 0.20, 0.12,
    )  # fmt: skip
    """The same in stereo superlayers, left."""
    wrong_if_right_stereo: PerAngle = (
        0.40, 0.60, 0.60, 0.12, 0.02, 0.03, 0.10, 0.20, 0.25, 0.20, 0.07,
    )  # fmt: skip
    """The same in stereo superlayers, right."""
    wrong_inner: tuple[float, float] = (0.31, 0.042)
    """The same in SL0, left and right."""
    second_undecided_axial_left: PerAngle = (
        1.0, 1.0, 1.0, 1.0, 1.0, 0.845, 0.585, 0.39, 0.39, 0.65, 1.0,
    )  # fmt: skip
    """Share of second priority segments of unknown side, axial superlayers, where the
    track passes left of the wire."""
    second_undecided_axial_right: PerAngle = (
        1.0, 1.0, 1.0, 0.2, 0.05, 0.1, 0.05, 0.05, 0.1, 0.1, 0.1,
    )  # fmt: skip
    """The same where it passes right."""
    second_undecided_stereo_left: PerAngle = (
        0.35, 0.32, 0.31, 0.15, 0.19, 0.15, 0.31, 0.23, 0.385, 0.46, 0.46,
    )  # fmt: skip
    """The same in stereo superlayers, left."""
    second_undecided_stereo_right: PerAngle = (
        0.3, 0.3, 0.2, 0.1, 0.05, 0.1, 0.05, 0.05, 0.08, 0.1, 0.2,
    )  # fmt: skip
    """The same in stereo superlayers, right."""
    second_wrong_left: PerAngle = (
        0.2, 0.15, 0.2, 0.2, 0.3, 0.5, 0.9, 0.9, 1.0, 1.0, 0.6,
    )  # fmt: skip
    """Share of wrong sides where the track passes left of a second priority wire."""
    second_wrong_right: float = 0.015
    """The same where it passes right."""
    near_wire_cm: float = 0.03
    """Distance from the wire over which left/right is lost (falls as exp)."""
    near_wire_undecided: float = 0.10
    """What tracks through the wire add to the undecided share."""

    drift_linear_ticks_per_cm: float = 133.5
    """Drift time near the wire: 3.8e-3 cm/ns, close to the 4e-3 usual for the chamber's
    gas."""
    drift_quadratic_ticks_per_cm2: PerSuperlayer = (
        270.0, 0.0, 0.0, 50.0, 35.0, 75.0, 55.0, 90.0, 50.0,
    )  # fmt: skip
    """Drift becomes slower away from the wire."""
    time_std_ticks: float = 4.0
    """Error of a drift time."""
    late_share: float = 0.078
    """Share of segments whose time is somewhat too late."""
    late_mean_ticks: float = 46.0
    """How much, on average (exponential)."""
    fast_share_per_cm: tuple[float, float] = (0.98, 0.70)
    """Share of segments with a time between 0 and the true one, per cm from the
    wire, axial and stereo."""
    delayed_first_share: PerSuperlayer = (
        0.02, 0.12, 0.04, 0.06, 0.04, 0.03, 0.03, 0.0, 0.03,
    )  # fmt: skip
    """Share of first priority segments whose time is that of a later signal, whatever
    the track: more often where cells are small."""
    delayed_second_share: PerSuperlayer = (
        0.0, 0.42, 0.11, 0.38, 0.11, 0.30, 0.11, 0.35, 0.0,
    )  # fmt: skip
    """The same for the second priority layer, which takes the place of a first wire
    that was not hit in time."""
    delayed_ticks: float = 295.0
    """How late these are at most (uniform)."""
    stray_share: tuple[float, float] = (0.005, 0.075)
    """Share of times of a later particle, axial and stereo."""
    stray_ticks: float = 500.0
    """How late these are at most (uniform)."""
    stale_share: tuple[float, float] = (0.011, 0.03)
    """Share of times from before the track, axial and stereo."""
    stale_ticks: tuple[float, float] = (150.0, 500.0)
    """How early these are (uniform)."""
    wrong_time_ticks: tuple[float, float] = (-20.0, 170.0)
    """Times of wrong segments, and of those of the next axial wire, uniform; 0 for a
    track through the wire."""
    wrong_undecided_share: float = 0.325
    """Share of wrong segments whose left/right is unknown."""

    same_track_share: float = 0.15
    """Share of further rows with the 2D track of the first row."""
    same_segment_share: float = 0.50
    """Probability that a further row has a superlayer's segment from the first."""
    same_missing_share: float = 0.6
    """Probability that a further row lacks the same axial superlayer."""
    finder_follows: float = 0.45
    """How far the 2D track follows what its axial segments err by (a least-squares fit
    to them would be 1): the cells of the Hough plane are coarse."""
    omega_std_per_cm: float = 2.75e-4
    """Error of the curvature of a row beside that and its quantisation."""
    phi_std_rad: float = 0.0062
    """Error of the azimuth where the 2D finder knows it best."""
    pivot_radius_cm: float = 58.0
    """Radius of that place."""
    omega_factor: float = 0.992
    """Mean of the curvature that the finder gives over the true one."""
    phi_bias_rad: float = -0.001
    """Mean error of the azimuth: a twentieth of a step."""
    stray_row_share: float = 0.045
    """Share of rows from a side peak of the Hough plane, far from the track."""
    omega_std_stray_per_cm: float = 2.2e-3
    """Error of the curvature of those."""
    finder_radius_cm: tuple[float, float] = (35.0, 95.0)
    """Where the 2D track, which comes from the beam axis, meets one that does not."""

    reco_z_std_cm: float = 0.3
    """Resolution of the reconstruction for background tracks."""
    reco_theta_std_deg: float = 0.3
    """Resolution of the reconstruction."""
    reco_wrong_share: float = 0.015
    """Share of tracks whose target is that of another reconstructed track."""

    finder3d_axial: int = 3
    """Axial superlayers that a track of the 3D finder has at least: the default of
    ``CDCTriggerNDFinder`` of basf2. The 3D Hough chain alone uses this and all that
    follows; nothing of it was tuned, since there are no public data."""
    finder3d_stereo: int = 2
    """Stereo superlayers, from the same source."""
    finder3d_reach_wires: float = 1.0
    """How far from a track a segment still belongs to its cell, besides half of the
    cell: half of the width of a segment. Wires; a choice."""
    pattern_missing_share: float = 0.05
    """Share of the wires that a track crosses which have no signal. A choice."""
    pattern_noise_share: float = 0.02
    """Share of all other wires of a segment which have one. A choice."""
    noise_fakes_per_track: float = 0.25
    """Helices, for each true track, near which random segments are looked for; a
    track of those that are found is a fake of an event without tracks. A choice."""
    noise_segment_share: float = 0.6
    """Probability of such a segment in each superlayer. A choice."""
    noise_time_ticks: float = 500.0
    """Their times begin at 0 and end here (uniform). A choice."""
    crossed_fakes_per_track: float = 0.15
    """Pairs of tracks, for each true one, of which the first lies on a helix with the
    second in the inner superlayers and the second in the outer ones. A choice."""

    def __post_init__(self) -> None:
        if self.tracks < 1:
            raise ConfigError(
                f"data.simulate.tracks: expected at least 1, found {self.tracks}"
            )
        for field in fields(self):
            name, value = f"data.simulate.{field.name}", getattr(self, field.name)
            if not isinstance(value, tuple) or not isinstance(field.default, tuple):
                continue
            if not all(type(v) in (int, float) and math.isfinite(v) for v in value):
                raise ConfigError(f"{name}: expected numbers, found {value}")
            # Any number of tracks may be there, each with its share.
            wanted = len(field.default)
            if len(value) != wanted and not name.endswith(MORE_OR_FEWER):
                raise ConfigError(
                    f"{name}: expected {wanted} numbers, found {len(value)}"
                )


MORE_OR_FEWER = ("tracks_share", "per_track_share")
