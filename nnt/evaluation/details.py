"""What stands behind the figures of an evaluation: errors, sizes, bins."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from nnt import metrics
from nnt.metrics import Predictions, Replicas
from nnt.training.report import Judged
from nnt.types import FloatArray

__all__ = ["Details", "details"]

Figures = dict[str, dict[str, float]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Details:
    """Of the rows that pass the filter."""

    errors: Figures
    """Standard errors, by the names of the figures."""
    differences: Figures
    """Network minus reference; empty without a reference."""
    difference_errors: Figures
    """What both share, the draw of the events, drops out."""
    sizes: dict[str, dict[str, int]]
    """Tracks and events that the shares are of."""
    in_bins: dict[str, Any]
    """Residuals and efficiency of ``network`` and ``reference`` in bins."""

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {
            "errors": self.errors,
            "differences": self.differences,
            "difference_errors": self.difference_errors,
            "sizes": self.sizes,
            "in_bins": self.in_bins,
        }


def details(judged: Judged, figures: Figures) -> Details:
    """Compute what stands behind the figures.

    Parameters
    ----------
    judged : Judged
        What the networks say of the rows.
    figures : dict
        Figures of ``"all"`` rows that pass the filter, and of each ``"expert_k"``.
    """
    rows = judged.rows(None)
    predicted = judged.predictions(rows)
    if not len(predicted):
        return Details(
            errors={}, differences={}, difference_errors={}, sizes={}, in_bins={}
        )
    targets = judged.tracks.targets[rows]
    outputs = {"": judged.output[rows]}
    if judged.reference is not None:
        outputs["_reference"] = judged.reference[rows]
    n_outputs = judged.output.shape[1]
    errors: Figures = {scope: {} for scope in figures}
    replicas: dict[str, Replicas] = {}
    for end, output in outputs.items():
        own = {
            scope: {k: told[k + end] for k in told if k + end in told}
            for scope, told in figures.items()
        }
        losses = {
            "loss": metrics.loss_of_rows(
                judged.loss, output[:, :n_outputs], targets[:, :n_outputs]
            )
        }
        told, replicas[end] = metrics.figure_errors(
            predicted, *_outputs(predicted, end), own, losses
        )
        for scope, found in _for_every_scope(told, predicted).items():
            if not _has_loss_of_its_own(judged, scope):
                errors[scope] |= {k + end: v for k, v in found.items()}
            else:
                errors[scope] |= {k + end: v for k, v in found.items() if k != "loss"}
    differences, difference_errors = _differences(figures, replicas, predicted)
    return Details(
        errors=errors,
        differences=differences,
        difference_errors=difference_errors,
        sizes=_sizes(judged, figures),
        in_bins={
            "network" if not end else "reference": _in_bins(predicted, end)
            for end in outputs
        },
    )


def _outputs(predicted: Predictions, end: str) -> tuple[FloatArray, FloatArray | None]:
    if end and predicted.z_reference_cm is not None:
        return predicted.z_reference_cm, predicted.theta_reference_deg
    return predicted.z_cm, predicted.theta_deg


def _for_every_scope(told: Figures, predicted: Predictions) -> Figures:
    """An expert that serves all rows has the errors of all."""
    alone = len(np.unique(predicted.expert)) == 1
    return {
        scope: told["all"] if alone or scope == "expert_-1" else own
        for scope, own in told.items()
    }


def _has_loss_of_its_own(judged: Judged, scope: str) -> bool:
    if scope == "all":
        return False
    expert = int(scope.removeprefix("expert_"))
    return judged.own_losses.get(expert, judged.loss) != judged.loss


def _differences(
    figures: Figures, replicas: Mapping[str, Replicas], predicted: Predictions
) -> tuple[Figures, Figures]:
    if "_reference" not in replicas:
        return {}, {}
    flat = metrics.difference_errors(replicas["_reference"], replicas[""])
    errors: Figures = {scope: {} for scope in figures}
    for name, error in flat.items():
        scope, figure = name.split("/")
        if scope in errors and math.isfinite(error):
            errors[scope][figure] = error
    errors = _for_every_scope(errors, predicted)
    differences = {
        scope: {
            name: value - told[f"{name}_reference"]
            for name, value in told.items()
            if f"{name}_reference" in told
        }
        for scope, told in figures.items()
    }
    known = {
        scope: {k: v for k, v in errors[scope].items() if k in differences[scope]}
        for scope in figures
    }
    return differences, known


def _sizes(judged: Judged, figures: Figures) -> dict[str, dict[str, int]]:
    sizes = {}
    for scope in figures:
        expert = None if scope == "all" else int(scope.removeprefix("expert_"))
        told = judged.predictions(judged.rows(expert))
        sizes[scope] = metrics.sample_sizes(told, told.z_cm, told.theta_deg)
    return sizes


def _in_bins(predicted: Predictions, end: str) -> dict[str, Any]:
    z_cm, theta_deg = _outputs(predicted, end)
    residuals = metrics.in_bins(predicted, z_cm, theta_deg)
    efficiency = metrics.efficiency_in_bins(predicted, z_cm)
    return {
        **{name: bins.to_dict() for name, bins in residuals.items()},
        **{
            f"efficiency_at_eff96_against_{name}": {
                "edges": metrics.AXES[name].edges.tolist(),
                **shares.to_dict(),
            }
            for name, shares in efficiency.items()
        },
    }
