"""Which rows an expert serves, what networks predict for them, and what they should."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from nnt import metrics
from nnt.classes import Balance, class_targets
from nnt.config import Config
from nnt.detector import STT_MOMENTUM_GEV, theta_to_deg, z_to_cm
from nnt.errors import ConfigError
from nnt.networks import OUTPUTS
from nnt.objective import CLASS_OUTPUTS, value_of_rows
from nnt.tracks import Tracks
from nnt.types import F32, F64, BoolArray, FloatArray

if TYPE_CHECKING:
    from nnt.networks import Networks

Outputs = Mapping[str, F32]
"""Name of the output -> shape (N,), in network units."""
LossOfRows = Callable[[Tracks, Outputs], F64]

MEASURED = ("z", "theta")
"""Outputs that the reconstruction measures, too; the others are classes."""
DECISION = "decision"
"""Name of the column of a network of z that learns the decision by |z|."""
Balances = Mapping[str, Balance]
"""Column of a class -> weights of the rows, as found on the rows of a training."""


def served_rows(tracks: Tracks, experts: Collection[int]) -> BoolArray:
    """Rows that one of the experts serves; expert -1 serves all."""
    served: BoolArray = np.isin(tracks.expert, list(experts)) | (-1 in experts)
    return served


def kept_rows(config: Config | None, tracks: Tracks) -> BoolArray:
    """Rows that pass the filter of the expert that serves them; all without any.

    Every filter sees the whole table, as in the training.
    """
    if config is None:
        return np.ones(len(tracks), dtype=np.bool_)
    kept = config.filter.mask(tracks)
    for expert, overrides in config.expert_overrides.items():
        if "filter" in overrides and -1 not in config.experts:
            chosen = config.for_expert(expert).filter.mask(tracks)
            kept = np.where(served_rows(tracks, [expert]), chosen, kept)
    return kept


def by_name(names: Sequence[str], array: F32) -> dict[str, F32]:
    """Name the columns of an array of shape (N, K)."""
    return {name: array[:, i] for i, name in enumerate(names)}


def as_array(outputs: Outputs, names: Iterable[str] = OUTPUTS) -> F32:
    """Put the outputs of these names side by side, shape (N, K)."""
    return np.stack([outputs[name] for name in names if name in outputs], axis=1)


def rows_of(outputs: Outputs, rows: BoolArray) -> dict[str, F32]:
    """Outputs of some rows."""
    return {name: values[rows] for name, values in outputs.items()}


def predicted_outputs(networks: Networks, tracks: Tracks) -> dict[str, F32]:
    """Let networks predict every row; `DataError` where an expert is missing."""
    return by_name(networks.outputs, networks.predict(tracks))


def outputs_in_data(tracks: Tracks) -> dict[str, F32] | None:
    """Outputs that the files hold, of the network that ran; None without any."""
    if tracks.whole_reference is None:
        return None
    return by_name(OUTPUTS[: tracks.whole_reference.shape[1]], tracks.whole_reference)


def reference_outputs(
    tracks: Tracks, networks: Networks | None, needed: Sequence[str], served: BoolArray
) -> dict[str, F32] | None:
    """Outputs of the networks to compare with, or else of those in the data.

    They need the `needed` ones but for classes. Rows that are not served are not
    predicted, and become NaN; the table itself stays as the files hold it.

    Raises
    ------
    ConfigError
        The other networks predict less than the networks to be trained.
    """
    if networks is None:
        return outputs_in_data(tracks)
    missing = [n for n in needed if n in MEASURED and n not in networks.outputs]
    if missing:
        raise ConfigError(
            f"compare_to: the networks there predict {', '.join(networks.outputs)}, "
            f"not {' and '.join(missing)} as this configuration; compare with a run "
            "that predicts them, or leave compare_to out"
        )
    predicted = predicted_outputs(networks, tracks[served])
    found = {}
    for name, values in predicted.items():
        found[name] = np.full(len(tracks), np.nan, dtype=np.float32)
        found[name][served] = values
    return found


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
