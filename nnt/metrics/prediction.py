"""Predictions of a network for tracks, with the reconstruction and the momentum."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from nnt.detector import (
    ALPHA_SCALE,
    N_SUPERLAYERS,
    OMEGA_CM_TIMES_PT_GEV,
    SUPERLAYERS,
    theta_to_deg,
    z_to_cm,
)
from nnt.tracks import Tracks
from nnt.types import F32, I64, BoolArray, FloatArray

RADIUS_CM = np.array([sl.radius_cm[0] for sl in SUPERLAYERS], dtype=np.float32)
ROWS_AT_ONCE = 200_000


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Predictions:
    """Predictions of a network for tracks, with the reconstruction; shape (N,) each."""

    z_reco_cm: FloatArray
    theta_reco_deg: FloatArray
    z_cm: FloatArray
    event: I64
    """Dense number of the event."""
    expert: I64
    theta_deg: FloatArray | None = None
    """None for a network of z only."""
    pt_gev: FloatArray | None = None
    """Transverse momentum of the trigger's track; None where it is not known."""
    phi_deg: FloatArray | None = None
    """Its azimuth, from 0 to 360; None where the file does not have it."""
    n_tracks: I64 | None = None
    """Tracks of its event; None where the file does not count them."""
    charge: FloatArray | None = None
    """-1 or 1, 0 where it is not known."""
    fake: BoolArray | None = None
    """Fake tracks, whose z and theta mean nothing; None where there are none
    by the way in which the rows were found."""
    has_z: bool = True
    """Whether the network predicts z; `z_cm` is NaN where it does not."""
    nnt: FloatArray | None = None
    """Output of the class of tracks from the collision point, scaled; None without."""
    stt: FloatArray | None = None
    """Output of the class of the single-track trigger, scaled; None without."""

    def __len__(self) -> int:
        return len(self.z_reco_cm)

    @property
    def real(self) -> BoolArray:
        """Tracks of a particle, shape (N,)."""
        if self.fake is None:
            return np.ones(len(self), dtype=np.bool_)
        return ~self.fake

    def residual(self, quantity: str) -> FloatArray | None:
        """Residuals of z (cm) or theta (deg), of any rows; None without such output."""
        if quantity == "z":
            return self.z_cm - self.z_reco_cm if self.has_z else None
        return None if self.theta_deg is None else self.theta_deg - self.theta_reco_deg

    def __getitem__(self, rows: npt.NDArray[Any] | slice) -> Predictions:
        values = {name: getattr(self, name) for name in self.__slots__}
        there: dict[str, Any] = {
            k: v[rows] for k, v in values.items() if isinstance(v, np.ndarray)
        }
        return replace(self, **there)


@np.errstate(all="ignore")
def predictions(tracks: Tracks, outputs: Mapping[str, FloatArray]) -> Predictions:
    """Combine outputs of a network, by name and in network units, with their rows."""
    phi_rad = tracks.extras.get("2DPhi")
    rows = Predictions(
        z_reco_cm=z_to_cm(tracks.targets[:, 0]),
        theta_reco_deg=theta_to_deg(tracks.targets[:, 1]),
        z_cm=np.full(len(tracks), np.float32(np.nan)),
        event=tracks.event_index,
        expert=tracks.expert,
        pt_gev=pt_gev(tracks),
        phi_deg=None if phi_rad is None else np.rad2deg(phi_rad) % np.float32(360),
        n_tracks=tracks.ids["nTracks"] if tracks.ids["nTracks"].any() else None,
        charge=charge_sign(tracks.inputs),
        fake=tracks.fake,
    )
    return with_outputs(rows, outputs)


@np.errstate(all="ignore")
def with_outputs(rows: Predictions, outputs: Mapping[str, FloatArray]) -> Predictions:
    """The same rows with the outputs of another network, in network units."""
    z, theta = outputs.get("z"), outputs.get("theta")
    return replace(
        rows,
        z_cm=np.full(len(rows), np.float32(np.nan)) if z is None else z_to_cm(z),
        has_z=z is not None,
        theta_deg=None if theta is None else theta_to_deg(theta),
        nnt=outputs.get("nnt"),
        stt=outputs.get("stt"),
    )


def pt_gev(tracks: Tracks) -> F32:
    """Transverse momentum of the trigger's tracks.

    From the column ``2DinvPt`` where there is one, or else from the crossing angles;
    NaN for a row that has neither.
    """
    if tracks.pt_gev is not None:
        return tracks.pt_gev
    return pt_from_crossing_angles(tracks.inputs, tracks.chain.alpha_scale)


@np.errstate(all="ignore")
def pt_from_crossing_angles(inputs: F32, alpha_scale: float = ALPHA_SCALE) -> F32:
    """Take the transverse momentum from the crossing angles among the inputs.

    The crossing angle in a superlayer of radius R is ``asin(R omega / 2)``, omega
    the curvature of the track, and the input is half of it in the classic chain
    (``NeuroTrigger.cc`` of basf2) and all of it in the 3D Hough chain. So each
    superlayer tells the same curvature, but for those where a wire of the second
    priority layer was hit: R is larger there by 2 to 6 %. The median over the
    superlayers is free of them.

    Parameters
    ----------
    inputs : float32 array, shape (N, 27) or (N, 126)
        A missing superlayer is all 0.
    alpha_scale : float
        Input of a crossing angle of 1 rad.

    Returns
    -------
    float32 array, shape (N,)
        In GeV; infinite where all crossing angles are 0, the stiffest tracks of
        all; NaN without a hit.
    """
    result = np.empty(len(inputs), dtype=np.float32)
    for start in range(0, len(inputs), ROWS_AT_ONCE):
        part = slice(start, start + ROWS_AT_ONCE)
        result[part] = _median_pt_gev(inputs[part], alpha_scale)
    return result


def _median_pt_gev(inputs: F32, alpha_scale: float) -> F32:
    width = inputs.shape[1] // N_SUPERLAYERS
    alpha_scaled = inputs[:, 2::width]
    # A straight track through the origin crosses at an angle of 0, and is not missing.
    missing = alpha_scaled == 0
    for kind in range(width):
        missing &= inputs[:, kind::width] == 0
    omega = 2 * np.abs(np.sin(alpha_scaled / np.float32(alpha_scale))) / RADIUS_CM
    omega[missing] = np.inf  # sorted to the end
    omega.sort(axis=1)
    n_seen = N_SUPERLAYERS - missing.sum(axis=1)
    rows = np.arange(len(omega))
    # Of an even number, the lower: hits of the second priority tell too much.
    middle = omega[rows, np.maximum(n_seen - 1, 0) // 2]
    middle[n_seen == 0] = np.nan
    pt: F32 = np.float32(OMEGA_CM_TIMES_PT_GEV) / middle
    return pt


def charge_sign(inputs: F32) -> F32:
    """Take the charge from the sign of the crossing angles among the inputs.

    The crossing angle has the sign of the curvature and so of the charge, but in
    superlayers that a track does not reach on its circle: there it is always
    positive. So the innermost superlayer with a hit gives it: -1 or 1, or 0 without a
    hit, shape (N,). Inputs are as those of `pt_from_crossing_angles`.
    """
    alpha = inputs[:, 2 :: inputs.shape[1] // N_SUPERLAYERS]
    innermost = np.argmax(alpha != 0, axis=1)
    sign: F32 = np.sign(alpha[np.arange(len(alpha)), innermost])
    return sign


@np.errstate(all="ignore")
def momentum_gev(pt_gev: npt.ArrayLike, theta_deg: npt.ArrayLike) -> F32:
    """Momentum from its transverse part and the polar angle, ``pt / sin(theta)``.

    Notes
    -----
    As the single-track trigger takes it, with theta of the network: S. Baehr et
    al., arXiv:2402.14962.
    """
    theta_rad = np.deg2rad(np.asarray(theta_deg, dtype=np.float32))
    sine: F32 = np.maximum(np.sin(theta_rad), np.float32(1e-3))
    return np.asarray(pt_gev, dtype=np.float32) / sine
