"""Figures of the validation rows, computed while the next epoch is trained."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from nnt.config import Config
from nnt.detector import Z_RANGE_CM
from nnt.engine.records import ExpertData
from nnt.metrics import std, trimmed_std
from nnt.objective import (
    CLASS_OUTPUTS,
    CUT_START,
    REGRESSION_KINDS,
    residual_loss,
    value,
)
from nnt.types import F32

Metrics = dict[str, float]

CM_PER_UNIT = (Z_RANGE_CM[1] - Z_RANGE_CM[0]) / 2
RATIOS = {"loss": "loss", "z_std": "z_std_cm"}
"""Figures whose ratio to those of a reference network is a metric, too."""


Validated = tuple[F32, Metrics]
"""Outputs for the validation rows, shape (M, outputs), and their figures."""


def compared_loss(metrics: Mapping[str, float]) -> float:
    """By which epochs are compared: ``val/loss``, or with a decision the whole."""
    return metrics.get("val/objective", metrics["val/loss"])


class Validation:
    """Judges weights by the validation rows."""

    def __init__(self, data: ExpertData, config: Config) -> None:
        self._data = data
        self._objective = config.objective
        self._kind = REGRESSION_KINDS[config.loss]
        # Outputs come in a fixed order, z and theta before the classes.
        outputs = config.form.outputs
        self._has_z = outputs[0] == "z"
        self._n_measured = sum(name not in CLASS_OUTPUTS for name in outputs)
        is_measured = self._n_measured == len(outputs)
        self._is_plain = data.w_val is None and is_measured and self._objective.is_plain
        # Of tracks of no particle, z and theta do not count.
        counted = None if data.w_val is None else data.w_val[:, 0] > 0
        is_whole = counted is None or counted.all()
        self._counted = slice(None) if is_whole else counted
        reference = data.reference_val
        self._reference = {} if reference is None else self._measured(reference)

    def __call__(
        self, predict: Callable[[F32], F32], cut: tuple[float, float] | None = None
    ) -> Validated:
        """Predict the validation rows and compute all figures.

        `cut` holds the learned numbers of a decision, if there is one.
        """
        data = self._data
        output = predict(data.x_val)
        metrics = self._measured(output)
        ratios = {
            f"val/{ratio}_vs_reference": metrics[f"val/{name}"] / reference
            for ratio, name in RATIOS.items()
            if (reference := self._reference.get(f"val/{name}", 0)) > 0
        }
        if self._is_plain:
            return output, metrics | ratios
        cut = cut or CUT_START
        whole = value(self._objective, output, data.y_val, data.w_val, cut=cut)
        # A decision by z is judged by what it rejects; what it learned besides
        # the weights is not part of the network.
        name = "val/loss" if self._objective.decision is None else "val/objective"
        return output, {**metrics, name: whole, **ratios}

    @np.errstate(all="ignore")
    def _measured(self, output: F32) -> Metrics:
        """Figures of z and theta alone, which a reference network has, too."""
        n = self._n_measured
        if not n:
            return {}
        target = self._data.y_val[self._counted]
        output = output[self._counted]
        losses = residual_loss(self._kind, output[:, :n] - target[:, :n])
        metrics = {"val/loss": float(np.mean(losses))}
        if self._has_z:
            residual_cm = (output[:, 0] - target[:, 0]) * CM_PER_UNIT
            metrics["val/z_std_cm"] = std(residual_cm)
            metrics["val/z_trimmed_std_cm"] = trimmed_std(residual_cm)
        return metrics
