"""Figures of a network under the names of the tracked metrics."""

from __future__ import annotations

import numpy as np

from nnt.metrics.prediction import Floats, Predictions
from nnt.metrics.residuals import half_width_68, std, trimmed_std
from nnt.metrics.trigger import (
    BACKGROUND_Z_CM,
    CUT_CM,
    EFFICIENCIES,
    FEED_Z_CM,
    SIGNAL_Z_CM,
    cut_at_efficiency_cm,
    passing_share,
    roc_area,
)

__all__ = ["network_figures", "summary"]


def summary(predicted: Predictions) -> dict[str, float]:
    """Figures of a network under the names of the tracked metrics.

    What cannot be computed, for lack of rows, is left out.
    """
    figures = network_figures(predicted)
    if not figures:
        return {}
    if predicted.z_reference_cm is not None:
        reference = _figures(
            predicted, predicted.z_reference_cm, predicted.theta_reference_deg
        )
        figures |= {f"{name}_reference": value for name, value in reference.items()}
    return figures


def network_figures(predicted: Predictions) -> dict[str, float]:
    """Figures of the network alone, as in `summary`."""
    if not len(predicted):
        return {}
    figures = {"n_tracks": float(len(predicted))}
    return figures | _figures(predicted, predicted.z_cm, predicted.theta_deg)


def _figures(
    predicted: Predictions, z_cm: Floats, theta_deg: Floats | None
) -> dict[str, float]:
    figures = _residual_figures("z", "cm", z_cm - predicted.z_reco_cm)
    if theta_deg is not None:
        residual_deg = theta_deg - predicted.theta_reco_deg
        figures |= _residual_figures("theta", "deg", residual_deg)
    return figures | _trigger_figures(z_cm, predicted.z_reco_cm)


def _residual_figures(name: str, unit: str, residual: Floats) -> dict[str, float]:
    return {
        f"{name}_mean_{unit}": float(np.mean(residual, dtype=np.float64)),
        f"{name}_std_{unit}": std(residual),
        f"{name}_trimmed_std_{unit}": trimmed_std(residual),
        f"{name}_half_width_68_{unit}": half_width_68(residual),
    }


def _trigger_figures(z_cm: Floats, z_reco_cm: Floats) -> dict[str, float]:
    signal = z_cm[np.abs(z_reco_cm) < SIGNAL_Z_CM]
    background = z_cm[np.abs(z_reco_cm) > BACKGROUND_Z_CM]
    figures: dict[str, float] = {}
    if len(signal):
        figures["efficiency_at_15cm"] = passing_share(signal, CUT_CM)
    if len(background):
        figures["rejection_at_15cm"] = 1 - passing_share(background, CUT_CM)
    if not len(signal) or not len(background):
        return figures
    figures["roc_area"] = roc_area(signal, background)
    for efficiency in EFFICIENCIES:
        cut_cm = cut_at_efficiency_cm(signal, efficiency)
        name = f"eff{efficiency * 100:.0f}"
        figures[f"cut_cm_at_{name}"] = cut_cm
        figures[f"rejection_at_{name}"] = 1 - passing_share(background, cut_cm)
    cut_cm = figures["cut_cm_at_eff96"]
    for name, far in (
        ("feed_down", z_cm[z_reco_cm > FEED_Z_CM]),
        ("feed_up", z_cm[z_reco_cm < -FEED_Z_CM]),
    ):
        if len(far):
            figures[f"{name}_at_eff96"] = passing_share(far, cut_cm)
    return figures
