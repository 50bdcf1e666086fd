"""How the losses of stored runs went, epoch by epoch."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping

import numpy as np

from nnt.errors import TrackingError
from nnt.tracking import StoredRun
from nnt.types import F64

__all__ = ["validation_losses"]


def validation_losses(run: StoredRun) -> dict[int, F64]:
    """Read the validation loss of every epoch of every expert.

    Returns
    -------
    dict of int to float64 array, shape (E, 2)
        Expert to epochs and losses; an expert without a ``metrics.csv`` is left
        out.
    """
    losses = {}
    for expert, child in run.experts().items():
        try:
            text = child.read_text("metrics.csv")
        except TrackingError:
            continue
        points = [_point(row) for row in csv.DictReader(io.StringIO(text))]
        told = [point for point in points if point is not None]
        losses[expert] = np.array(told, dtype=np.float64).reshape(-1, 2)
    return losses


def _point(row: Mapping[str, str]) -> tuple[float, float] | None:
    try:
        return float(row["epoch"]), float(row["val/loss"])
    except (KeyError, TypeError, ValueError):
        return None
