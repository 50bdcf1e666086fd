"""From the configuration to the rows of each split, reference included."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable, Mapping

import numpy as np

from nnt.config import Config
from nnt.engine import ExpertData
from nnt.errors import ConfigError
from nnt.networks import Networks
from nnt.progress import show_progress
from nnt.tracks import Tracks, read_tracks, split_by_event
from nnt.types import F32, BoolArray

__all__ = [
    "SPLITS",
    "expert_data",
    "expert_mask",
    "expert_splits",
    "kept_rows",
    "load_split",
    "load_splits",
    "own_losses",
    "reference_outputs",
    "served_rows",
    "splits_digest",
]

log = logging.getLogger(__name__)

SPLITS = ("train", "val", "test")


def load_splits(config: Config) -> dict[str, Tracks]:
    """Read, or simulate, the rows that a configuration names.

    Returns
    -------
    dict
        ``train``, ``val`` and ``test``; no event is in two of them.

    Raises
    ------
    DataError
        A file cannot be read, or a split holds no row.
    """
    files = config.data.files
    if isinstance(files, Mapping):
        tables = [_read(files[split]) for split in SPLITS]
    else:
        tables = _shared_out(config, files)
    splits = dict(zip(SPLITS, tables, strict=True))
    for name, tracks in splits.items():
        log.info("%s: %s rows", name, f"{len(tracks):,}")
    return splits


def load_split(config: Config, split: str) -> Tracks:
    """Read, or simulate, the rows of one split only.

    Raises
    ------
    DataError
        A file cannot be read, or the split holds no row.
    """
    files = config.data.files
    if isinstance(files, Mapping):
        return _read(files[split])
    return _shared_out(config, files)[SPLITS.index(split)]


def _shared_out(config: Config, files: tuple[str, ...] | None) -> list[Tracks]:
    table = _simulate(config) if files is None else _read(files)
    fractions = config.data.split or (0.6, 0.2, 0.2)
    return split_by_event(table, fractions, seed=config.seed)


def _read(files: tuple[str, ...]) -> Tracks:
    with show_progress("Reading", "bytes") as progress:
        return read_tracks(list(files), progress=progress)


def _simulate(config: Config) -> Tracks:
    from nnt.simulation import simulate_with

    if config.data.simulate is None:
        raise ConfigError(f"{config.name}: data: neither files nor simulate is given")
    with show_progress("Simulating", "tracks") as progress:
        return simulate_with(config.data.simulate, progress)


def splits_digest(splits: Mapping[str, Tracks]) -> str:
    """One sha256 for the rows of all splits."""
    joined = ":".join(f"{name}={splits[name].digest}" for name in sorted(splits))
    return hashlib.sha256(joined.encode()).hexdigest()


def reference_outputs(
    tracks: Tracks, networks: Networks | None, out_size: int, experts: Iterable[int]
) -> F32 | None:
    """Outputs of the networks to compare with, or else of those in the data.

    The table itself stays as the files hold it.

    Parameters
    ----------
    tracks : Tracks
        N rows.
    networks : Networks, optional
        Other networks to compare with.
    out_size : int
        1: z only; 2: z and theta.
    experts : iterable of int
        Those that are compared; other rows are not predicted, and become NaN.

    Returns
    -------
    float32 array, shape (N, 1) or (N, 2), or None
        In network units; None where there is nothing to compare with.

    Raises
    ------
    ConfigError
        The other networks predict less than the networks to be trained.
    """
    if networks is None:
        return tracks.reference
    if len(networks.outputs) < out_size:
        raise ConfigError(
            f"compare_to: the networks there predict {', '.join(networks.outputs)} of "
            f"a track, this configuration {out_size} (out_size); compare with a run "
            "of the same out_size"
        )
    rows = served_rows(tracks, experts)
    output = np.full((len(tracks), len(networks.outputs)), np.nan, dtype=np.float32)
    output[rows] = networks.predict(tracks[rows])
    return output


def expert_mask(tracks: Tracks, expert: int) -> BoolArray:
    """Rows that an expert serves; expert -1 serves all."""
    if expert == -1:
        return np.ones(len(tracks), dtype=np.bool_)
    mask: BoolArray = tracks.expert == expert
    return mask


def served_rows(tracks: Tracks, experts: Iterable[int]) -> BoolArray:
    """Rows that one of the experts serves."""
    served = np.zeros(len(tracks), dtype=np.bool_)
    for expert in experts:
        served |= expert_mask(tracks, expert)
    return served


def kept_rows(config: Config, tracks: Tracks) -> BoolArray:
    """Rows that pass the filter of the expert that serves them.

    Every filter sees the whole table, as in the training.

    Returns
    -------
    bool array, shape (N,)
    """
    kept = config.filter(tracks)
    for expert, own in config.expert_overrides.items():
        if "filter" in own and -1 not in config.experts:
            chosen = config.for_expert(expert).filter(tracks)
            kept = np.where(expert_mask(tracks, expert), chosen, kept)
    return kept


def own_losses(config: Config) -> dict[int, str]:
    """Name of the loss of each expert."""
    return {expert: config.for_expert(expert).loss for expert in config.experts}


def expert_splits(
    splits: Mapping[str, Tracks], kept: Mapping[str, BoolArray], expert: int
) -> dict[str, Tracks]:
    """Rows of each split that pass the filter and that an expert serves.

    Parameters
    ----------
    splits : mapping of str to Tracks
        All rows.
    kept : mapping of str to bool array
        Rows of each split that pass the filter.
    expert : int
        -1 for all rows.
    """
    return {
        name: tracks[kept[name] & expert_mask(tracks, expert)]
        for name, tracks in splits.items()
    }


def expert_data(
    train: Tracks, val: Tracks, out_size: int, reference_val: F32 | None = None
) -> ExpertData:
    """Put the rows of one expert into the form that the engine takes.

    Parameters
    ----------
    train, val : Tracks
        Rows to train on and to be judged by.
    out_size : int
        1: z only; 2: z and theta.
    reference_val : float32 array, shape (M, out_size) or wider, optional
        What another network predicts for the rows of `val`.
    """
    reference = None if reference_val is None else reference_val[:, :out_size]
    return ExpertData(
        x_train=np.ascontiguousarray(train.inputs),
        y_train=np.ascontiguousarray(train.targets[:, :out_size]),
        x_val=np.ascontiguousarray(val.inputs),
        y_val=np.ascontiguousarray(val.targets[:, :out_size]),
        reference_val=reference,
    )
