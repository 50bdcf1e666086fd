"""What goes into a fit and what comes out."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from nnt.networks import State
from nnt.types import F32

__all__ = ["Epoch", "ExpertData", "FitResult", "StopReason"]

StopReason = Literal["epochs", "early stopping", "stopped"]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class ExpertData:
    """Rows of one expert, C-contiguous, in network units."""

    x_train: F32
    """Shape (N, inputs)."""
    y_train: F32
    """Shape (N, targets): the outputs, see `nnt.objective`."""
    x_val: F32
    """Shape (M, inputs)."""
    y_val: F32
    """Shape (M, targets)."""
    w_train: F32 | None = None
    """Shape (N, targets): how much each row counts; None: all the same."""
    w_val: F32 | None = None
    """Shape (M, targets)."""
    reference_val: F32 | None = None
    """Shape (M, measured): what a reference network predicts for the outputs z and
    theta of the network, if there is one."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Epoch:
    """One epoch, reported as soon as it has been validated."""

    number: int
    """From 1, through all restarts."""
    metrics: dict[str, float]
    """By the names of the tracked metrics, such as ``val/loss``."""
    time_ms: int = field(compare=False, default=0)
    """When it was done, Unix time."""
    val_output: F32 | None = field(compare=False, repr=False, default=None)
    """Shape (M, outputs): what the network predicts for the validation rows; None for
    an epoch that was done before the fit was interrupted."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class FitResult:
    """The best weights, and how the fit ended."""

    state: State
    best_epoch: int
    """0 if the weights are those that the fit began with."""
    epochs: int
    """Epochs done, all restarts together."""
    stop_reason: StopReason
