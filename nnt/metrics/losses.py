"""Losses by their names in PyTorch, in network units."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from nnt.errors import ConfigError, did_you_mean
from nnt.types import FloatArray

__all__ = ["LOSSES", "loss", "loss_of_rows"]


def _mse(difference: FloatArray) -> FloatArray:
    return np.square(difference, dtype=np.float64)


def _l1(difference: FloatArray) -> FloatArray:
    return np.abs(difference).astype(np.float64)


def _huber(difference: FloatArray) -> FloatArray:
    size = np.abs(difference).astype(np.float64)
    return np.where(size < 1, size**2 / 2, size - 0.5)


LOSSES: dict[str, Callable[[FloatArray], FloatArray]] = {
    "MSELoss": _mse,
    "L1Loss": _l1,
    "SmoothL1Loss": _huber,
    "HuberLoss": _huber,
    "TriggerLoss": _mse,
}
"""By their names in PyTorch; Huber and smooth L1 agree at their default width 1. That
of the trigger is squared error, but for what it learns beside the network."""


@np.errstate(all="ignore")
def loss(name: str, output: FloatArray, target: FloatArray) -> float:
    """Mean loss over rows and outputs, in network units.

    Raises
    ------
    ConfigError
        There is no such loss.
    """
    return float(np.mean(_function(name)(output - target)))


@np.errstate(all="ignore")
def loss_of_rows(name: str, output: FloatArray, target: FloatArray) -> FloatArray:
    """Mean loss over the outputs of each row, in network units.

    Parameters
    ----------
    name : str
        As in PyTorch.
    output, target : float array, shape (N, K)

    Returns
    -------
    float64 array, shape (N,)

    Raises
    ------
    ConfigError
        There is no such loss.
    """
    mean: FloatArray = _function(name)(output - target).mean(axis=1)
    return mean


def _function(name: str) -> Callable[[FloatArray], FloatArray]:
    if name not in LOSSES:
        raise ConfigError(f"loss: unknown {name!r}; {did_you_mean(name, LOSSES)}")
    return LOSSES[name]
