"""Predictions of a network for tracks, with the reconstruction."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from nnt.detector import theta_to_deg, z_to_cm
from nnt.metrics.momentum import charge_sign, pt_gev
from nnt.tracks import Tracks
from nnt.types import I64, BoolArray, FloatArray

__all__ = ["Predictions", "predictions", "with_outputs"]


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

    def __getitem__(self, rows: npt.NDArray[Any] | slice) -> Predictions:
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        there: dict[str, Any] = {
            k: v[rows] for k, v in values.items() if isinstance(v, np.ndarray)
        }
        return replace(self, **there)


@np.errstate(all="ignore")
def predictions(tracks: Tracks, outputs: Mapping[str, FloatArray]) -> Predictions:
    """Combine outputs of a network with the rows that they belong to.

    Parameters
    ----------
    tracks : Tracks
        N rows.
    outputs : mapping of str to float array, shape (N,)
        By name (``z``, ``theta``, ``nnt``, ``stt``), in network units.
    """
    rows = Predictions(
        z_reco_cm=z_to_cm(tracks.targets[:, 0]),
        theta_reco_deg=theta_to_deg(tracks.targets[:, 1]),
        z_cm=np.full(len(tracks), np.float32(np.nan)),
        event=tracks.event_index,
        expert=tracks.expert,
        pt_gev=pt_gev(tracks),
        phi_deg=_phi_deg(tracks),
        n_tracks=tracks.ids["nTracks"] if tracks.ids["nTracks"].any() else None,
        charge=charge_sign(tracks.inputs),
        fake=tracks.fake,
    )
    return with_outputs(rows, outputs)


@np.errstate(all="ignore")
def with_outputs(rows: Predictions, outputs: Mapping[str, FloatArray]) -> Predictions:
    """The same rows with the outputs of another network.

    Parameters
    ----------
    rows : Predictions
        N rows.
    outputs : mapping of str to float array, shape (N,)
        By name, in network units.
    """
    z, theta = outputs.get("z"), outputs.get("theta")
    return replace(
        rows,
        z_cm=np.full(len(rows), np.float32(np.nan)) if z is None else z_to_cm(z),
        has_z=z is not None,
        theta_deg=None if theta is None else theta_to_deg(theta),
        nnt=outputs.get("nnt"),
        stt=outputs.get("stt"),
    )


def _phi_deg(tracks: Tracks) -> FloatArray | None:
    phi_rad = tracks.extras.get("2DPhi")
    return None if phi_rad is None else np.rad2deg(phi_rad) % np.float32(360)
