"""What networks should predict for rows, and how much each row counts."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

import numpy as np

from nnt import metrics
from nnt.classes import Balance, class_targets
from nnt.config import Config
from nnt.detector import STT_MOMENTUM_GEV, theta_to_deg, z_to_cm
from nnt.judging.outputs import (
    MEASURED,
    LossOfRows,
    Outputs,
    as_array,
    kept_rows,
    rows_of,
    served_rows,
)
from nnt.objective import CLASS_OUTPUTS, value_of_rows
from nnt.tracks import Tracks
from nnt.types import F32, F64, FloatArray

DECISION = "decision"
"""Name of the column of a network of z that learns the decision by |z|."""


Balances = Mapping[str, Balance]
"""Column of a class -> weights of the rows, as found on the rows of a training."""


def fit_balances(tracks: Tracks, config: Config) -> Balances:
    """Find the weights of the classes on the rows that an expert is trained on."""
    quantities = _quantities(tracks, config)
    return {
        name: Balance.fit(*_class(tracks, config, name), quantities)
        for name in _class_columns(config)
    }


def targets_of(
    tracks: Tracks, config: Config, balances: Balances
) -> tuple[F32, F32 | None]:
    """Targets of rows, and how much each row counts for each of them.

    Configuration and balances are those of one expert.

    Returns
    -------
    targets : float32 array, shape (N, T)
        A column for each output, and one more for a decision by |z|
        (see `nnt.objective`). Classes are -1 or 1.
    weights : float32 array, shape (N, T), or None
        None where all rows count alike. z and theta of fake tracks do not
        count, nor do classes of rows between signal and background.
    """
    columns, weights, fake = [], [], tracks.fake
    ones = np.ones(len(tracks), dtype=np.float32)
    real = ones if fake is None else (~fake).astype(np.float32)
    for name in config.form.outputs:
        if name in MEASURED:
            columns.append(tracks.targets[:, MEASURED.index(name)])
            weights.append(real)
    quantities = _quantities(tracks, config)
    for name in _class_columns(config):
        targets, counts = _class(tracks, config, name)
        columns.append(targets)
        weights.append(balances[name].weights(targets, counts, quantities))
    stacked = np.ascontiguousarray(np.stack(columns, axis=1), dtype=np.float32)
    if fake is None and not _class_columns(config):
        return stacked, None
    return stacked, np.ascontiguousarray(np.stack(weights, axis=1), dtype=np.float32)


def whole_loss(
    config: Config, train: Callable[[], Tracks], experts: Collection[int]
) -> LossOfRows | None:
    """Find the loss of networks with classes, for rows of all their experts.

    The classes are balanced on the rows of a training split, filtered or not. None,
    without reading them, for networks without a class. A decision by |z| is not judged
    by its loss: what it has learned beside the weights is not part of the network.

    Returns
    -------
    callable, or None
        Gives the part of each row in the loss, shape (N,); NaN for rows that nobody
        serves.
    """
    if not set(config.form.outputs) & set(CLASS_OUTPUTS):
        return None
    split = train()
    kept = kept_rows(config, split)
    balances = {}
    for expert in experts:
        rows = split[kept & served_rows(split, [expert])]
        balances[expert] = fit_balances(rows, config.for_expert(expert))

    def loss_of_rows(tracks: Tracks, outputs: Outputs) -> F64:
        found = np.full(len(tracks), np.nan)
        for expert, of_expert in balances.items():
            rows, own = served_rows(tracks, [expert]), config.for_expert(expert)
            array = as_array(rows_of(outputs, rows), own.form.outputs)
            targets = targets_of(tracks[rows], own, of_expert)
            found[rows] = value_of_rows(own.objective, array, *targets)
        return found

    return loss_of_rows


def _class_columns(config: Config) -> list[str]:
    found = [name for name in config.form.outputs if name in CLASS_OUTPUTS]
    return found if config.objective.decision is None else [*found, DECISION]


def _class(tracks: Tracks, config: Config, name: str) -> tuple[F32, F32]:
    """Class of each row, and whether it counts; fakes are background."""
    classes, fake = config.classes, tracks.fake
    z_cm = z_to_cm(tracks.targets[:, 0]).astype(np.float64)
    if fake is not None:
        z_cm = np.where(fake, np.inf, z_cm)
    fast: F32 | None = None
    known = np.ones(len(tracks), dtype=np.bool_)
    if name == "stt":
        pt_gev = metrics.pt_gev(tracks)
        theta_deg = theta_to_deg(tracks.targets[:, 1])
        momentum = metrics.momentum_gev(pt_gev, theta_deg)
        fast = (momentum >= STT_MOMENTUM_GEV).astype(np.float32)
        known = ~np.isnan(pt_gev)
        if fake is not None:
            known |= fake
    targets, counts = class_targets(
        z_cm, classes.signal_cm, classes.background_cm, fast
    )
    if tracks.classes is not None and name in CLASS_OUTPUTS:
        targets = np.ascontiguousarray(tracks.classes[:, CLASS_OUTPUTS.index(name)])
        known = np.ones(len(tracks), dtype=np.bool_)
    return targets, counts * known


def _quantities(tracks: Tracks, config: Config) -> dict[str, FloatArray]:
    makers: dict[str, Callable[[], FloatArray]] = {
        "charge": lambda: metrics.charge_sign(tracks.inputs),
        "pt": lambda: metrics.pt_gev(tracks),
        "theta": lambda: theta_to_deg(tracks.targets[:, 1]),
    }
    return {name: makers[name]() for name in config.classes.balance}
