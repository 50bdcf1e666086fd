"""What a table holds, in a few numbers."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from nnt.detector import EXPERTS, N_SUPERLAYERS, theta_to_deg, z_to_cm
from nnt.tracks.table import Tracks

__all__ = ["Spread", "Summary", "summarise"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Spread:
    """Where the values of a column lie."""

    mean: float
    std: float
    minimum: float
    median: float
    maximum: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Summary:
    """Numbers that show at a glance whether a table is the right one."""

    rows: int
    events: int
    rows_per_expert: dict[int, int]
    z_cm: Spread
    theta_deg: Spread
    pt_gev: Spread | None
    """Of the trigger tracks; None where the files do not say."""
    missing_superlayer_share: list[float]
    """Share of rows whose three inputs of SL0 .. SL8 are exactly zero."""
    has_reference: bool
    """Whether the outputs of a network that ran are present."""
    reference_z_std_cm: float | None
    """Spread of its z against the reconstructed one."""

    def to_dict(self) -> dict[str, Any]:
        """As plain values."""
        return dataclasses.asdict(self)


def summarise(tracks: Tracks) -> Summary:
    """Count and measure a table of at least one row."""
    missing = ~tracks.inputs.reshape(len(tracks), N_SUPERLAYERS, -1).any(axis=2)
    pt_gev = tracks.pt_gev
    return Summary(
        rows=len(tracks),
        events=int(tracks.event_index.max()) + 1,
        rows_per_expert={k: int((tracks.expert == k).sum()) for k in EXPERTS},
        z_cm=_spread(z_to_cm(tracks.targets[:, 0].astype(np.float64))),
        theta_deg=_spread(theta_to_deg(tracks.targets[:, 1].astype(np.float64))),
        pt_gev=None if pt_gev is None else _spread(pt_gev[np.isfinite(pt_gev)]),
        missing_superlayer_share=[float(share) for share in missing.mean(axis=0)],
        has_reference=tracks.reference is not None,
        reference_z_std_cm=_reference_z_std_cm(tracks),
    )


def _spread(values: npt.NDArray[np.floating[Any]]) -> Spread:
    if not len(values):
        values = np.array([np.nan])
    return Spread(
        mean=float(values.mean(dtype=np.float64)),
        std=float(values.std(dtype=np.float64)),
        minimum=float(values.min()),
        median=float(np.median(values)),
        maximum=float(values.max()),
    )


def _reference_z_std_cm(tracks: Tracks) -> float | None:
    if tracks.reference is None:
        return None
    present = ~np.isnan(tracks.reference[:, 0])
    z_cm = [
        z_to_cm(values[present, 0].astype(np.float64))
        for values in (tracks.reference, tracks.targets)
    ]
    return float((z_cm[0] - z_cm[1]).std())
