"""Figures of a network under the names of the tracked metrics."""

from __future__ import annotations

import numpy as np

from nnt.metrics.corefit import core_fit
from nnt.metrics.decisions import decision_figures, decisions
from nnt.metrics.prediction import Predictions
from nnt.metrics.residuals import half_width_68, std, trimmed_std
from nnt.metrics.trigger import FEED_Z_CM, passing_share
from nnt.types import FloatArray

__all__ = ["network_figures", "summary"]


@np.errstate(all="ignore")
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


@np.errstate(all="ignore")
def network_figures(predicted: Predictions) -> dict[str, float]:
    """Figures of the network alone, as in `summary`."""
    if not len(predicted):
        return {}
    figures = {"n_tracks": float(len(predicted))}
    return figures | _figures(predicted, predicted.z_cm, predicted.theta_deg)


def _figures(
    predicted: Predictions, z_cm: FloatArray, theta_deg: FloatArray | None
) -> dict[str, float]:
    figures = _residual_figures("z", "cm", z_cm - predicted.z_reco_cm)
    if theta_deg is not None:
        residual_deg = theta_deg - predicted.theta_reco_deg
        figures |= _residual_figures("theta", "deg", residual_deg)
    return figures | _trigger_figures(predicted, z_cm, theta_deg)


def _residual_figures(name: str, unit: str, residual: FloatArray) -> dict[str, float]:
    figures = {
        f"{name}_mean_{unit}": float(np.mean(residual, dtype=np.float64)),
        f"{name}_std_{unit}": std(residual),
        f"{name}_trimmed_std_{unit}": trimmed_std(residual),
        f"{name}_half_width_68_{unit}": half_width_68(residual),
    }
    core = core_fit(residual)
    if core is not None:
        figures[f"{name}_core_mean_{unit}"] = core.mean
        figures[f"{name}_core_std_{unit}"] = core.std
        figures[f"{name}_core_share"] = core.share
    return figures


def _trigger_figures(
    predicted: Predictions, z_cm: FloatArray, theta_deg: FloatArray | None
) -> dict[str, float]:
    figures: dict[str, float] = {}
    for prefix, decision in decisions(predicted, z_cm, theta_deg).items():
        figures |= decision_figures(prefix, decision)
    cut_cm = figures.get("cut_cm_at_eff96")
    if cut_cm is None:
        return figures
    z_reco_cm = predicted.z_reco_cm
    for name, far in (
        ("feed_down", z_cm[z_reco_cm > FEED_Z_CM]),
        ("feed_up", z_cm[z_reco_cm < -FEED_Z_CM]),
    ):
        if len(far):
            figures[f"{name}_at_eff96"] = passing_share(far, cut_cm)
    return figures
