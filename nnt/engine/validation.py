"""Figures of the validation rows, computed while the next epoch is trained."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor, Future
from dataclasses import dataclass

import numpy as np

from nnt.config import Config
from nnt.detector import Z_RANGE_CM
from nnt.engine.records import Backend, ExpertData
from nnt.metrics import std, trimmed_std
from nnt.objective import (
    CLASS_OUTPUTS,
    CUT_START,
    REGRESSION_KINDS,
    residual_loss,
    value,
)
from nnt.types import F32

__all__ = ["Validated", "Validation"]

Metrics = dict[str, float]
Cut = tuple[float, float] | None

CM_PER_UNIT = (Z_RANGE_CM[1] - Z_RANGE_CM[0]) / 2


@dataclass(frozen=True, slots=True, eq=False)
class Validated:
    """What the weights of one epoch make of the validation rows."""

    output: F32
    """Shape (M, outputs)."""
    metrics: Metrics
    loss: float
    """By which epochs are compared: ``val/loss``, or with a decision the whole."""


class Validation:
    """Judges weights by the validation rows.

    Parameters
    ----------
    data : ExpertData
        Rows of the expert.
    config : Config
        Of the expert.
    pool : concurrent.futures.Executor, optional
        Threads to validate in; without them everything is done at once.
    """

    def __init__(self, data: ExpertData, config: Config, pool: Executor | None) -> None:
        self._data = data
        self._objective = config.objective
        self._kind = REGRESSION_KINDS[config.loss]
        self._pool = pool
        # Outputs come in a fixed order, z and theta before the classes.
        outputs = config.form.outputs
        self._has_z = outputs[0] == "z"
        self._n_measured = sum(name not in CLASS_OUTPUTS for name in outputs)
        self._is_plain = (
            data.w_val is None
            and self._objective.is_plain
            and self._n_measured == len(outputs)
        )
        # Of tracks of no particle, z and theta do not count.
        weights = data.w_val if self._n_measured else None
        counted = None if weights is None else weights[:, 0] > 0
        self._counted = None if counted is None or counted.all() else counted
        reference = data.reference_val if self._n_measured else None
        self._reference = {} if reference is None else self._measured(reference)

    @property
    def is_immediate(self) -> bool:
        """Whether what is submitted is done at once."""
        return self._pool is None

    def submit(self, backend: Backend) -> Future[Validated]:
        """Judge the weights of now, in another thread if there is one."""
        if self._pool is not None:
            return self._pool.submit(self.judge, backend.frozen(), backend.cut)
        done = Future[Validated]()
        done.set_result(self.judge(backend.predict, backend.cut))
        return done

    def judge(self, predict: Callable[[F32], F32], cut: Cut = None) -> Validated:
        """Predict the validation rows and compute all figures.

        Parameters
        ----------
        predict : callable
            Gives outputs, shape (M, outputs), for inputs.
        cut : tuple, optional
            Learned numbers of a decision.
        """
        output = predict(self._data.x_val)
        metrics = self._measured(output) if self._n_measured else {}
        ratios = {
            f"val/{ratio}_vs_reference": metrics[name] / self._reference[name]
            for ratio, name in (("loss", "val/loss"), ("z_std", "val/z_std_cm"))
            if self._reference.get(name, 0) > 0
        }
        if self._is_plain:
            return Validated(output, metrics | ratios, metrics["val/loss"])
        whole = self._whole_loss(output, cut)
        # A decision by z is judged by what it rejects; what it learned besides
        # the weights is not part of the network.
        name = "val/loss" if self._objective.decision is None else "val/objective"
        return Validated(output, {**metrics, name: whole, **ratios}, whole)

    def _whole_loss(self, output: F32, cut: Cut) -> float:
        data = self._data
        return value(
            self._objective, output, data.y_val, data.w_val, cut=cut or CUT_START
        )

    @np.errstate(all="ignore")
    def _measured(self, output: F32) -> Metrics:
        """Figures of z and theta alone, which a reference network has, too."""
        target = self._data.y_val
        if self._counted is not None:
            output, target = output[self._counted], target[self._counted]
        n = self._n_measured
        losses = residual_loss(self._kind, output[:, :n] - target[:, :n])
        metrics = {"val/loss": float(np.mean(losses))}
        if self._has_z:
            residual_cm = (output[:, 0] - target[:, 0]) * CM_PER_UNIT
            metrics["val/z_std_cm"] = std(residual_cm)
            metrics["val/z_trimmed_std_cm"] = trimmed_std(residual_cm)
        return metrics
