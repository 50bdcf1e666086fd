"""Which rows an expert serves, and outputs of networks by name."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from nnt.config import Config
from nnt.errors import ConfigError
from nnt.networks import OUTPUTS
from nnt.tracks import Tracks
from nnt.types import F32, F64, BoolArray

if TYPE_CHECKING:
    from nnt.networks import Networks

Outputs = Mapping[str, F32]
"""Name of the output -> shape (N,), in network units."""
LossOfRows = Callable[[Tracks, Outputs], F64]

MEASURED = ("z", "theta")
"""Outputs that the reconstruction measures, too; the others are classes."""


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
