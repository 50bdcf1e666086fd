"""What a network says of tracks, beside the reconstruction."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from nnt.detector import theta_to_deg, z_to_cm
from nnt.metrics.momentum import pt_gev
from nnt.tracks import Tracks
from nnt.types import I64, FloatArray

__all__ = ["Predictions", "predictions"]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Predictions:
    """What a network says of tracks, beside the reconstruction; shape (N,) each."""

    z_reco_cm: FloatArray
    theta_reco_deg: FloatArray
    z_cm: FloatArray
    theta_deg: FloatArray | None
    """None for a network of z only."""
    z_reference_cm: FloatArray | None
    theta_reference_deg: FloatArray | None
    event: I64
    """Dense number of the event."""
    expert: I64
    pt_gev: FloatArray | None = None
    """Transverse momentum of the trigger's track; None where it is not known."""
    phi_deg: FloatArray | None = None
    """Its azimuth, from 0 to 360; None where the file does not have it."""
    n_tracks: I64 | None = None
    """Tracks of its event; None where the file does not count them."""

    def __len__(self) -> int:
        return len(self.z_cm)

    def __getitem__(self, rows: npt.NDArray[Any] | slice) -> Predictions:
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        there = {k: v[rows] for k, v in values.items() if v is not None}
        return replace(self, **there)


@np.errstate(all="ignore")
def predictions(
    tracks: Tracks,
    output_scaled: FloatArray,
    reference_scaled: FloatArray | None = None,
) -> Predictions:
    """Put outputs of a network beside the rows that they belong to.

    Parameters
    ----------
    tracks : Tracks
        N rows.
    output_scaled : float array, shape (N, 1) or (N, 2)
        In network units.
    reference_scaled : float array, shape (N, 1) or (N, 2), optional
        Outputs to compare with.
    """
    reference = reference_scaled
    return Predictions(
        z_reco_cm=z_to_cm(tracks.targets[:, 0]),
        theta_reco_deg=theta_to_deg(tracks.targets[:, 1]),
        z_cm=z_to_cm(output_scaled[:, 0]),
        theta_deg=_theta_deg(output_scaled),
        z_reference_cm=None if reference is None else z_to_cm(reference[:, 0]),
        theta_reference_deg=None if reference is None else _theta_deg(reference),
        event=tracks.event_index,
        expert=tracks.expert,
        pt_gev=pt_gev(tracks),
        phi_deg=_phi_deg(tracks),
        n_tracks=tracks.ids["nTracks"] if tracks.ids["nTracks"].any() else None,
    )


def _phi_deg(tracks: Tracks) -> FloatArray | None:
    phi_rad = tracks.extras.get("2DPhi")
    return None if phi_rad is None else np.rad2deg(phi_rad) % np.float32(360)


def _theta_deg(output_scaled: FloatArray) -> FloatArray | None:
    return theta_to_deg(output_scaled[:, 1]) if output_scaled.shape[1] == 2 else None
