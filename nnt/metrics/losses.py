"""Losses by their names in PyTorch, in network units."""

from __future__ import annotations

import numpy as np

from nnt.errors import ConfigError, did_you_mean
from nnt.objective import REGRESSION_KINDS, residual_loss
from nnt.types import F64, FloatArray

__all__ = ["loss", "loss_of_rows"]


@np.errstate(all="ignore")
def loss(name: str, output: FloatArray, target: FloatArray) -> float:
    """Mean loss over rows and outputs, in network units.

    Raises
    ------
    ConfigError
        There is no such loss.
    """
    return float(np.mean(_losses(name, output, target)))


@np.errstate(all="ignore")
def loss_of_rows(name: str, output: FloatArray, target: FloatArray) -> F64:
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
    mean: F64 = _losses(name, output, target).mean(axis=1)
    return mean


def _losses(name: str, output: FloatArray, target: FloatArray) -> F64:
    if name not in REGRESSION_KINDS:
        near = did_you_mean(name, REGRESSION_KINDS)
        raise ConfigError(f"loss: unknown {name!r}; {near}")
    return residual_loss(REGRESSION_KINDS[name], output - target)
