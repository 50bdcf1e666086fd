"""From the configuration to the rows of each split, reference included."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping

import numpy as np

from nnt.config import Config
from nnt.engine import ExpertData
from nnt.errors import ConfigError
from nnt.judging import Balances, Outputs, as_array, targets_of
from nnt.judging.outputs import MEASURED
from nnt.objective import CLASS_OUTPUTS
from nnt.progress import show_progress
from nnt.tracks import (
    Tracks,
    class_conflicts,
    empty_patterns,
    read_tracks,
    rows_of_shared_events,
    split_by_event,
)

__all__ = [
    "SPLITS",
    "expert_data",
    "load_split",
    "load_splits",
    "shared_shares",
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
        _warn_of_rows(config, name, tracks)
    return splits


def _warn_of_rows(config: Config, name: str, tracks: Tracks) -> None:
    """Report rows of the 3D Hough chain that do not fit together."""
    if any(output in CLASS_OUTPUTS for output in config.form.outputs):
        signal_cm = config.classes.signal_cm
        wrong = class_conflicts(tracks, signal_cm)
        if wrong.any():
            log.warning(
                "%s: the classes of %s of %s rows do not agree with z, first those of "
                "row %d: RecoNNTClassification is to be 1 for tracks with a |z| of at "
                "most %g cm (classes.signal_cm) and -1 for others and fakes, "
                "RecoSTTClassification never 1 where that is -1; those of the file are "
                "trained on",
                name, f"{int(wrong.sum()):,}", f"{len(tracks):,}",
                int(np.argmax(wrong)) + 1, signal_cm,
            )  # fmt: skip
    empty = empty_patterns(tracks)
    if empty.any():
        log.warning(
            "%s: %s of %s rows, first row %d, have a segment with a drift time and no "
            "wire in its hit pattern (extra_input0 to 10); check how they were written",
            name, f"{int(empty.sum()):,}", f"{len(tracks):,}",
            int(np.argmax(empty)) + 1,
        )  # fmt: skip


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
    return split_by_event(table, fractions, seed=config.seed_of_split)


def _read(files: tuple[str, ...]) -> Tracks:
    with show_progress("Reading", "bytes") as progress:
        return read_tracks(list(files), progress=progress)


def _simulate(config: Config) -> Tracks:
    from nnt.simulation import simulate_with

    if config.data.simulate is None:
        raise ConfigError(f"{config.name}: data: neither files nor simulate is given")
    with show_progress("Simulating", "tracks") as progress:
        return simulate_with(
            config.data.simulate, progress, chain=config.chain, inputs=config.in_size
        )


def shared_shares(config: Config, splits: Mapping[str, Tracks]) -> dict[str, float]:
    """Tell which share of the rows of val and test is of events of earlier splits.

    One table is split by event, so that only files named for each split can share
    events. A warning names each split that does.

    Returns
    -------
    dict
        Split to share; empty where the files are not named for each split.
    """
    if not isinstance(config.data.files, Mapping):
        return {}
    shares = {}
    for i, split in enumerate(SPLITS[1:], 1):
        rows = [rows_of_shared_events(splits[split], splits[e]) for e in SPLITS[:i]]
        shares[split] = float(np.any(rows, axis=0).mean())
        if shares[split]:
            log.warning(
                "%s: %.3g %% of its rows are of events that are in %s as well, so "
                "that its metrics are too optimistic; name files that share no "
                "event, or one list of files for NNT to split",
                split, 100 * shares[split], " or ".join(SPLITS[:i]),
            )  # fmt: skip
    return shares


def splits_digest(splits: Mapping[str, Tracks]) -> str:
    """One sha256 for the rows of all splits."""
    joined = ":".join(f"{name}={splits[name].digest}" for name in sorted(splits))
    return hashlib.sha256(joined.encode()).hexdigest()


def expert_data(
    train: Tracks,
    val: Tracks,
    config: Config,
    balances: Balances,
    reference: Outputs | None = None,
) -> ExpertData:
    """Put the rows of one expert into the form that the engine takes.

    Parameters
    ----------
    train, val : Tracks
        Rows to train on and to be judged by.
    config : Config
        Of the expert.
    balances : Balances
        Weights of the rows for classes, found on `train`.
    reference : Outputs, optional
        What another network predicts for the rows of `val`.
    """
    y_train, w_train = targets_of(train, config, balances)
    y_val, w_val = targets_of(val, config, balances)
    measured = [name for name in config.form.outputs if name in MEASURED]
    compared = reference is not None and set(measured) <= reference.keys()
    return ExpertData(
        x_train=np.ascontiguousarray(train.inputs),
        y_train=y_train,
        x_val=np.ascontiguousarray(val.inputs),
        y_val=y_val,
        w_train=w_train,
        w_val=w_val,
        reference_val=(
            as_array(reference, measured)
            if reference is not None and measured and compared
            else None
        ),
    )
