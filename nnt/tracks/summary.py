"""What a table holds, in a few numbers."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np

from nnt.detector import EXPERTS, REAL_Z_CM, theta_to_deg, z_to_cm
from nnt.tracks.table import INPUT_KINDS, TYPE_NAMES, Tracks
from nnt.types import BoolArray, FloatArray

ROUNDING_CM = 1e-3
"""Files hold six digits of the scaled z."""


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
    """Empty in the 3D Hough chain, which has no experts."""
    inputs: int
    """Of each row."""
    rows_per_type: dict[str, int]
    """By the names of `TYPE_NAMES`; empty in the classic chain."""
    rows_per_class: dict[str, int]
    """Rows of class 1, by the names of the outputs ``nnt`` and ``stt``; empty without
    classes."""
    class_conflicts: int
    """Rows whose classes do not agree with z (`class_conflicts`)."""
    empty_patterns: int
    """Rows that lack a hit pattern (`empty_patterns`)."""
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
    missing = ~tracks.inputs_by_superlayer.any(axis=2)
    pt_gev, types, classes = tracks.pt_gev, tracks.track_type, tracks.classes
    experts = EXPERTS if tracks.chain.has_experts else ()
    named = [] if types is None else list(enumerate(TYPE_NAMES))
    in_class = [] if classes is None else (classes > 0).sum(axis=0).tolist()
    return Summary(
        rows=len(tracks),
        events=int(tracks.event_index.max()) + 1,
        rows_per_expert={k: int((tracks.expert == k).sum()) for k in experts},
        inputs=tracks.inputs.shape[1],
        rows_per_type={name: int(np.sum(types == k)) for k, name in named},
        rows_per_class=dict(zip(("nnt", "stt"), in_class, strict=False)),
        class_conflicts=int(class_conflicts(tracks).sum()),
        empty_patterns=int(empty_patterns(tracks).sum()),
        z_cm=_spread(z_to_cm(tracks.targets[:, 0].astype(np.float64))),
        theta_deg=_spread(theta_to_deg(tracks.targets[:, 1].astype(np.float64))),
        pt_gev=None if pt_gev is None else _spread(pt_gev[np.isfinite(pt_gev)]),
        missing_superlayer_share=[float(share) for share in missing.mean(axis=0)],
        has_reference=tracks.reference is not None,
        reference_z_std_cm=_reference_z_std_cm(tracks),
    )


def class_conflicts(tracks: Tracks, signal_cm: float = REAL_Z_CM) -> BoolArray:
    """Mark the rows whose classes in the file do not agree with z, shape (N,).

    NNT is to be 1 for tracks with a |z| of at most `signal_cm`, -1 for others and for
    fakes; STT is never 1 where NNT is -1. Rows within `ROUNDING_CM` of the limit agree.
    """
    if tracks.classes is None or tracks.fake is None:
        return np.zeros(len(tracks), dtype=np.bool_)
    beyond = np.abs(z_to_cm(tracks.targets[:, 0].astype(np.float64))) - signal_cm
    beyond[tracks.fake] = np.inf
    nnt, stt = (tracks.classes > 0).T
    wrong: BoolArray = (nnt != (beyond <= 0)) & (np.abs(beyond) > ROUNDING_CM)
    wrong |= stt & ~nnt
    return wrong


def empty_patterns(tracks: Tracks) -> BoolArray:
    """Mark the rows with a drift time that no wire of its segment gave, shape (N,).

    Nothing is marked where the inputs hold no hit patterns.
    """
    inputs = tracks.inputs_by_superlayer
    marked = np.zeros(len(tracks), dtype=np.bool_)
    if inputs.shape[2] > len(INPUT_KINDS):
        for part in np.moveaxis(inputs, 1, 0):
            marked |= (part[:, 1] != 0) & ~part[:, len(INPUT_KINDS) :].any(axis=1)
    return marked


def _spread(values: FloatArray) -> Spread:
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
    residual_cm = z_to_cm(tracks.reference[:, 0].astype(np.float64))
    residual_cm -= z_to_cm(tracks.targets[:, 0].astype(np.float64))
    return float(residual_cm[~np.isnan(residual_cm)].std())
