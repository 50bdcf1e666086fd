"""Standard errors of the figures of a network."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from nnt.metrics.bootstrap import Replicas
from nnt.metrics.corefit import core_fit
from nnt.metrics.decisions import decisions
from nnt.metrics.prediction import Predictions
from nnt.metrics.replicas import figure_replicas
from nnt.metrics.trigger import FEED_Z_CM, binomial_error
from nnt.types import I64, FloatArray

__all__ = ["figure_errors", "sample_sizes"]

Scoped = dict[str, dict[str, float]]


def sample_sizes(
    predicted: Predictions, z_cm: FloatArray, theta_deg: FloatArray | None
) -> dict[str, int]:
    """How many tracks and events the shares are told of."""
    sizes = {}
    for prefix, decision in decisions(predicted, z_cm, theta_deg).items():
        sizes[f"{prefix}n_signal"] = int(decision.signal.sum())
        sizes[f"{prefix}n_background"] = int(decision.background.sum())
    sizes["n_feed_down"] = int((predicted.z_reco_cm > FEED_Z_CM).sum())
    sizes["n_feed_up"] = int((predicted.z_reco_cm < -FEED_Z_CM).sum())
    return sizes


@np.errstate(all="ignore")
def figure_errors(
    predicted: Predictions,
    z_cm: FloatArray,
    theta_deg: FloatArray | None,
    figures: Mapping[str, Mapping[str, float]],
    losses: Mapping[str, FloatArray] | None = None,
) -> tuple[Scoped, Replicas]:
    """Tell how far the figures may be off, for the rows that they are of.

    Errors come from drawing events anew (`figure_replicas`); those of the core from
    its fit; and that of a share of 0 or 1, which no draw would change, is binomial.

    Parameters
    ----------
    predicted : Predictions
        N rows.
    z_cm, theta_deg : float array, shape (N,)
        What the network says of them; theta None for a network of z only.
    figures : mapping
        Scope to the figures themselves.
    losses : mapping of str to float array, shape (N,), optional
        Further figures that are means over the rows.

    Returns
    -------
    dict
        Scope to name to error.
    Replicas
        For errors of differences to another network.
    """
    replicas = figure_replicas(predicted, z_cm, theta_deg, losses)
    errors: Scoped = {scope: {} for scope in figures}
    for name, error in replicas.errors().items():
        scope, figure = name.split("/")
        if math.isfinite(error) and figure in figures.get(scope, {}):
            errors[scope][figure] = error
    for scope, rows in _rows(predicted).items():
        if scope in errors:
            told, z = predicted[rows], z_cm[rows]
            theta = None if theta_deg is None else theta_deg[rows]
            errors[scope] |= _core_errors(told, z, theta)
            sizes = sample_sizes(told, z, theta)
            errors[scope] |= _certain_shares(figures[scope], sizes)
    return errors, replicas


def _rows(predicted: Predictions) -> dict[str, slice | I64]:
    told: dict[str, slice | I64] = {"all": slice(None)}
    experts = np.unique(predicted.expert)
    if len(experts) > 1:
        told |= {f"expert_{k}": np.flatnonzero(predicted.expert == k) for k in experts}
    return told


def _core_errors(
    predicted: Predictions, z_cm: FloatArray, theta_deg: FloatArray | None
) -> dict[str, float]:
    residuals = {("z", "cm"): z_cm - predicted.z_reco_cm}
    if theta_deg is not None:
        residuals["theta", "deg"] = theta_deg - predicted.theta_reco_deg
    errors = {}
    for (name, unit), values in residuals.items():
        core = core_fit(values)
        if core is not None:
            errors[f"{name}_core_mean_{unit}"] = core.mean_error
            errors[f"{name}_core_std_{unit}"] = core.std_error
            n = len(values)
            errors[f"{name}_core_share"] = float(binomial_error(core.share, n))
    return errors


def _certain_shares(
    figures: Mapping[str, float], sizes: Mapping[str, int]
) -> dict[str, float]:
    errors = {}
    for name, value in figures.items():
        n = _size_of_share(name, sizes)
        if n and value in (0.0, 1.0):
            errors[name] = float(binomial_error(value, n))
    return errors


def _size_of_share(name: str, sizes: Mapping[str, int]) -> int:
    for figure, size in (
        ("efficiency_at_15cm", "n_signal"),
        ("rejection_at_", "n_background"),
        ("feed_down_at_", "n_feed_down"),
        ("feed_up_at_", "n_feed_up"),
    ):
        prefix, found, _ = name.partition(figure)
        if found:
            return sizes.get(prefix + size, 0)
    return 0
