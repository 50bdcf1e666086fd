"""Whether networks were trained on the rows that judge them."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence

import numpy as np

from nnt.config import Config
from nnt.errors import NNTError
from nnt.evaluation.judged_rows import JudgedRows
from nnt.evaluation.loaded_run import LoadedRun
from nnt.progress import show_progress
from nnt.tracks import Tracks
from nnt.training.data import load_split
from nnt.types import U64

__all__ = ["shares_trained_on"]

log = logging.getLogger(__name__)


SEED = 27


def shares_trained_on(
    runs: Sequence[LoadedRun], rows: JudgedRows, tracks: Tracks
) -> list[float | None]:
    """Tell which share of the rows is in the training split of each run.

    Runs of the same data, seed and split share their training rows, which are read
    once. Where one table is split by event, no row of it is in two splits; files that
    are named for each split may share rows, and are looked into.

    Parameters
    ----------
    runs : sequence of LoadedRun
        Runs; the rows may be a split of the first.
    rows : JudgedRows
        Where the rows come from.
    tracks : Tracks
        Those that judge.

    Returns
    -------
    list of float or None
        None where the training rows are not known, or cannot be read any more.
    """
    known: dict[str, float | None] = {}
    first = runs[0].config
    if rows.split in ("val", "test") and first is not None and _is_one_table(first):
        known[_origin(first)] = 0.0
    own = _fingerprints(tracks)
    told: list[float | None] = []
    with show_progress("Comparing with training rows", "runs") as progress:
        for i, loaded in enumerate(runs, start=1):
            told.append(_share(loaded, own, known))
            progress(i, len(runs))
    _warn(told)
    return told


def _share(loaded: LoadedRun, own: U64, known: dict[str, float | None]) -> float | None:
    config = loaded.config
    if config is None:
        return None
    origin = _origin(config)
    if origin not in known:
        try:
            known[origin] = _share_of(config, own)
        except NNTError as err:
            log.warning("%s: its training rows cannot be read: %s", loaded.name, err)
            known[origin] = None
    return known[origin]


def _share_of(config: Config, own: U64) -> float:
    used = _fingerprints(load_split(config, "train"))
    return float(np.isin(own, used).mean())


def _is_one_table(config: Config) -> bool:
    return not isinstance(config.data.files, Mapping)


def _origin(config: Config) -> str:
    """What the split of the rows follows from."""
    told = config.to_dict()
    parts = {key: told.get(key) for key in ("data", "seed")}
    return json.dumps(parts, sort_keys=True, default=str)


def _fingerprints(tracks: Tracks) -> U64:
    """Hash each row, inputs and targets, by multiplying its bits with odd numbers."""
    bits = np.hstack([tracks.inputs, tracks.targets]).astype(np.float32)
    words = np.ascontiguousarray(bits).view(np.uint32)
    n_words: int = words.shape[1]
    drawn = np.random.default_rng(SEED).integers(0, 2**61, size=n_words).tolist()
    mixed = np.zeros(len(words), dtype=np.uint64)
    for i, number in enumerate(drawn):
        mixed = (mixed ^ words[:, i]) * np.uint64(2 * number + 1)
        mixed ^= mixed >> np.uint64(29)
    return mixed


def _warn(told: Sequence[float | None]) -> None:
    seen = [share for share in told if share]
    if seen:
        log.warning(
            "%d of %d runs were trained on some of these rows (up to %.0f %%), so that "
            "their figures are too good; judge on rows that none has seen, with --data",
            len(seen),
            len(told),
            100 * max(seen),
        )
