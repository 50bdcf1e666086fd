"""Statistical errors of any figure, by drawing events anew.

Tracks of one event share its background and its event time, so that whole
events are drawn (a block bootstrap: B. Efron and R. Tibshirani, "An Introduction
to the Bootstrap", 1993, chapter 8).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from nnt.types import F64

__all__ = ["Replicas", "difference_errors"]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Replicas:
    """Figures of tables that were drawn anew from one table."""

    values: Mapping[str, F64]
    """Name to shape (R,); NaN in replicas where a figure does not exist."""

    def errors(self) -> dict[str, float]:
        """Standard error of each figure."""
        return {k: _spread(v) for k, v in self.values.items()}


def _spread(values: F64) -> float:
    there = values[np.isfinite(values)]
    return float(np.std(there, ddof=1)) if len(there) > 1 else float("nan")


def difference_errors(first: Replicas, second: Replicas) -> dict[str, float]:
    """Standard errors of differences between networks on the same draws.

    What the networks have in common, the draw of the tracks, drops out.
    """
    return {
        name: _spread(values - first.values[name])
        for name, values in second.values.items()
        if name in first.values
    }
