"""Figures of the validation rows, computed while the next epoch is trained."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor, Future
from dataclasses import dataclass

import numpy as np

from nnt.detector import Z_RANGE_CM
from nnt.engine.backend import Backend
from nnt.engine.records import ExpertData
from nnt.metrics import loss as loss_of
from nnt.metrics import std, trimmed_std
from nnt.types import F32

__all__ = ["Validated", "Validation"]

Metrics = dict[str, float]

CM_PER_UNIT = (Z_RANGE_CM[1] - Z_RANGE_CM[0]) / 2


@dataclass(frozen=True, slots=True, eq=False)
class Validated:
    """What the weights of one epoch make of the validation rows."""

    output: F32
    """Shape (M, outputs)."""
    metrics: Metrics

    @property
    def loss(self) -> float:
        """By which epochs are compared."""
        return self.metrics["val/loss"]


class Validation:
    """Judges weights by the validation rows.

    Parameters
    ----------
    data : ExpertData
        Rows of the expert.
    loss : str
        Name of the loss.
    pool : concurrent.futures.Executor, optional
        Threads to validate in; without them everything is done at once.
    """

    def __init__(self, data: ExpertData, loss: str, pool: Executor | None) -> None:
        self._data = data
        self._loss = loss
        self._pool = pool
        reference = data.reference_val
        self._reference = {} if reference is None else self._metrics(reference)

    @property
    def is_immediate(self) -> bool:
        """Whether what is submitted is done at once."""
        return self._pool is None

    def submit(self, backend: Backend) -> Future[Validated]:
        """Judge the weights of now, in another thread if there is one."""
        if self._pool is not None:
            return self._pool.submit(self.judge, backend.frozen())
        done = Future[Validated]()
        done.set_result(self.judge(backend.predict))
        return done

    def judge(self, predict: Callable[[F32], F32]) -> Validated:
        """Predict the validation rows and compute all figures."""
        output = predict(self._data.x_val)
        metrics = self._metrics(output)
        for ratio, name in (("loss", "val/loss"), ("z_std", "val/z_std_cm")):
            if self._reference.get(name, 0) > 0:
                metrics[f"val/{ratio}_vs_reference"] = (
                    metrics[name] / self._reference[name]
                )
        return Validated(output, metrics)

    @np.errstate(all="ignore")
    def _metrics(self, output: F32) -> Metrics:
        target = self._data.y_val
        residual_cm = (output[:, 0] - target[:, 0]) * CM_PER_UNIT
        return {
            "val/loss": loss_of(self._loss, output, target),
            "val/z_std_cm": std(residual_cm),
            "val/z_trimmed_std_cm": trimmed_std(residual_cm),
        }
