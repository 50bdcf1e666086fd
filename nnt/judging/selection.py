"""Which rows an expert serves, and which pass its filter."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from nnt.config import Config
from nnt.tracks import Tracks
from nnt.types import BoolArray

__all__ = ["expert_mask", "kept_rows", "served_rows"]


def expert_mask(tracks: Tracks, expert: int) -> BoolArray:
    """Rows that an expert serves; expert -1 serves all."""
    if expert == -1:
        return np.ones(len(tracks), dtype=np.bool_)
    mask: BoolArray = tracks.expert == expert
    return mask


def served_rows(tracks: Tracks, experts: Iterable[int]) -> BoolArray:
    """Rows that one of the experts serves."""
    served = np.zeros(len(tracks), dtype=np.bool_)
    for expert in experts:
        served |= expert_mask(tracks, expert)
    return served


def kept_rows(config: Config, tracks: Tracks) -> BoolArray:
    """Rows that pass the filter of the expert that serves them.

    Every filter sees the whole table, as in the training.

    Returns
    -------
    bool array, shape (N,)
    """
    kept = config.filter(tracks)
    for expert, own in config.expert_overrides.items():
        if "filter" in own and -1 not in config.experts:
            chosen = config.for_expert(expert).filter(tracks)
            kept = np.where(expert_mask(tracks, expert), chosen, kept)
    return kept
