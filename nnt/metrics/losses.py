"""Losses by their names in PyTorch, in network units."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from nnt.errors import ConfigError, did_you_mean
from nnt.metrics.prediction import Floats

__all__ = ["LOSSES", "loss"]


def _mse(difference: Floats) -> float:
    return float(np.mean(np.square(difference, dtype=np.float64)))


def _l1(difference: Floats) -> float:
    return float(np.mean(np.abs(difference), dtype=np.float64))


def _huber(difference: Floats) -> float:
    size = np.abs(difference).astype(np.float64)
    return float(np.mean(np.where(size < 1, size**2 / 2, size - 0.5)))


LOSSES: dict[str, Callable[[Floats], float]] = {
    "MSELoss": _mse,
    "L1Loss": _l1,
    "SmoothL1Loss": _huber,
    "HuberLoss": _huber,
}
"""By their names in PyTorch; Huber and smooth L1 agree at their default width 1."""


def loss(name: str, output: Floats, target: Floats) -> float:
    """Mean loss over rows and outputs, in network units.

    Raises
    ------
    ConfigError
        There is no such loss.
    """
    if name not in LOSSES:
        raise ConfigError(f"loss: unknown {name!r}; {did_you_mean(name, LOSSES)}")
    return LOSSES[name](output - target)
