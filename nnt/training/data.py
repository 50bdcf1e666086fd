"""All that is read and checked before a run is opened: rows, earlier networks."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from nnt.config import Config
from nnt.errors import ConfigError
from nnt.judging import Outputs, reference_outputs, served_rows
from nnt.networks import State
from nnt.objective import CLASS_OUTPUTS
from nnt.progress import show_progress
from nnt.provenance import CodeState, code_state
from nnt.tracks import (
    Tracks,
    class_conflicts,
    empty_patterns,
    read_tracks,
    rows_of_shared_events,
    split_by_event,
)
from nnt.training.earlier_networks import (
    Teachers,
    initial_states,
    reference_networks,
    sources_of_weights,
)
from nnt.types import BoolArray
from nnt.version import __version__

log = logging.getLogger(__name__)

SPLITS = ("train", "val", "test")
MAX_TAG = 500


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


def load_split(config: Config, split: str) -> Tracks:
    """Read, or simulate, the rows of one split only; raises as `load_splits`."""
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


def _warn_of_rows(config: Config, name: str, tracks: Tracks) -> None:
    """Report rows of the 3D Hough chain that do not fit together."""
    signal_cm = config.classes.signal_cm
    if any(output in CLASS_OUTPUTS for output in config.form.outputs):
        wrong = class_conflicts(tracks, signal_cm)
        if wrong.any():
            log.warning(
                "%s: the classes of %s of %s rows do not agree with z, first those of "
                "row %d: RecoNNTClassification is to be 1 for tracks with a |z| of at "
                "most %g cm (classes.signal_cm) and -1 for others and fakes, "
                "RecoSTTClassification never 1 where that is -1; those of the file are "
                "trained on",
                *(name, *_counted(wrong), signal_cm),
            )
    empty = empty_patterns(tracks)
    if empty.any():
        log.warning(
            "%s: %s of %s rows, first row %d, have a segment with a drift time and no "
            "wire in its hit pattern (extra_input0 to 10); check how they were written",
            *(name, *_counted(empty)),
        )


def _counted(rows: BoolArray) -> tuple[str, str, int]:
    """How many rows these are, of how many, and the number of the first one."""
    return f"{int(rows.sum()):,}", f"{len(rows):,}", int(np.argmax(rows)) + 1


def _shared_shares(config: Config, splits: Mapping[str, Tracks]) -> dict[str, float]:
    """Share of the rows of val and test that are of events of earlier splits.

    One table is split by event, so that only files named for each split can share
    events. A warning names each split that does.
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
                *(split, 100 * shares[split], " or ".join(SPLITS[:i])),
            )
    return shares


def _check_chain(config: Config, splits: Mapping[str, Tracks]) -> None:
    """Refuse rows of the other chain, or with another number of inputs."""
    for split, tracks in splits.items():
        for key, expected, found in (
            ("chain", config.chain, tracks.chain.name),
            ("in_size", config.in_size, tracks.inputs.shape[1]),
        ):
            if found != expected:
                raise ConfigError(
                    f"{config.name}: {key}: expected data of {key} {expected}, but "
                    f"those of {split} have {found}; set {key}: {found}, or name "
                    "other files"
                )


def _kept(config: Config, tracks: Tracks) -> dict[int, BoolArray]:
    """Rows that the filter of each expert keeps; equal filters are called once."""
    filters = {k: config.for_expert(k).filter for k in config.experts}
    distinct = {str(f): f for f in filters.values()}
    masks = {name: f.mask(tracks) for name, f in distinct.items()}
    return {k: masks[str(f)] for k, f in filters.items()}


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingInputs:
    """All that is checked before the first run is opened."""

    config: Config
    splits: dict[str, Tracks]
    """As the files hold them, whatever the networks are compared with."""
    kept: dict[str, dict[int, BoolArray]]
    """Of each split, the rows that the filter of each expert keeps."""
    references: dict[str, Outputs | None]
    """Outputs to compare with, for the rows of each split."""
    initial: dict[int, State]
    started_from: str
    """Runs whose weights the experts start from; ``unknown`` where no run held them."""
    code: CodeState
    digest: str
    shared: dict[str, float]
    """Share of the rows of val and test that are of events of earlier splits."""
    teachers: Teachers | None = None
    """Whose outputs the rows to train on have for targets."""

    @property
    def tags(self) -> dict[str, str]:
        """Tags of the parent run, by which the list of runs is filtered."""
        config, code = self.config, self.code
        changes = " ".join(f"{k}={v}" for k, v in config.overridden.items())[:MAX_TAG]
        return {
            "nnt.kind": "training",
            **({"nnt.overrides": changes} if changes else {}),
            "category": config.category,
            "config": config.name,
            "git.commit": code.commit,
            "git.dirty": code.dirty_tag,
            "git.diff": code.diff_digest,
            "data.digest": self.digest,
            **({"nnt.started_from": self.started_from} if self.started_from else {}),
            **({"teachers.digest": self.teachers.digest} if self.teachers else {}),
            **{f"data.shared.{k}": f"{v:.3g}" for k, v in self.shared.items()},
            "nnt.version": __version__,
        }


def prepare(
    config: Config, splits: Mapping[str, Tracks] | None = None
) -> TrainingInputs:
    """Read earlier weights, the data and the reference, and check that they fit.

    Parameters
    ----------
    config : Config
        Of the training.
    splits : mapping of str to Tracks, optional
        The rows, where they have been read already.

    Raises
    ------
    ConfigError, DataError, TrackingError
        Something cannot be used; nothing has been started.
    """
    initial, teachers = initial_states(config), Teachers.of(config)
    reference = reference_networks(config)
    splits = load_splits(config) if splits is None else dict(splits)
    _check_chain(config, splits)
    kept = {split: _kept(config, tracks) for split, tracks in splits.items()}
    digests = ":".join(f"{name}={splits[name].digest}" for name in sorted(splits))
    references: dict[str, Outputs | None] = {
        split: reference_outputs(
            tracks, reference, config.form.outputs, served_rows(tracks, config.experts)
        )
        for split, tracks in splits.items()
    }
    if all(output is None for output in references.values()):
        log.info(
            "the data hold no outputs of a reference network: there is nothing to "
            "compare with"
        )
    return TrainingInputs(
        config=config,
        splits=splits,
        kept=kept,
        references=references,
        initial=initial,
        started_from=sources_of_weights(config),
        code=code_state(),
        digest=hashlib.sha256(digests.encode()).hexdigest(),
        shared=_shared_shares(config, splits),
        teachers=teachers,
    )
