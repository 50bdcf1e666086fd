"""What is judged and on which rows, and whether it was trained on these."""

from __future__ import annotations

import json
import logging
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from nnt.config import Config, load_config
from nnt.detector import N_INPUTS
from nnt.errors import ConfigError, DataError, NNTError, TrackingError
from nnt.judging import (
    LossOfRows,
    Outputs,
    kept_rows,
    reference_outputs,
    served_rows,
    whole_loss,
)
from nnt.networks import Networks, read_weights
from nnt.progress import show_progress
from nnt.tracking import (
    UNKNOWN_RUN,
    StoredRun,
    load_weights,
    open_run,
    read_run_weights,
    weights_file,
)
from nnt.tracks import Tracks, read_tracks
from nnt.tracks.splitting import numbers_of_rows
from nnt.tracks.table import INPUT_KINDS
from nnt.training.data import load_split
from nnt.training.earlier_networks import reference_networks
from nnt.types import I64, BoolArray

log = logging.getLogger(__name__)

DEFAULT_SPLIT = "test"
HELD_OUT = ("val", "test")
"""Splits that no network of the training is trained on."""
STARTED_FROM = "nnt.started_from"
MAX_ANCESTORS = 20


@dataclass(frozen=True, kw_only=True, slots=True)
class LoadedRun:
    """Networks to be judged, in floats or in integers, and how they were trained."""

    text: str
    """What the user wrote."""
    name: str
    networks: Networks
    run: StoredRun | None = None
    """None for a weights file."""
    config: Config | None = None
    """That of the training; None for a weights file."""

    @property
    def run_id(self) -> str | None:
        """None for a weights file."""
        return None if self.run is None else self.run.run_id

    @property
    def label(self) -> str:
        """Its name with the first digits of its ID."""
        return self.name if self.run is None else f"{self.name} {self.run.run_id[:6]}"

    def reference(self, tracks: Tracks) -> Outputs | None:
        """Outputs to compare with: of the run of `compare_to`, or else of the data."""
        try:
            networks = None if self.config is None else reference_networks(self.config)
        except NNTError as err:
            log.warning("no reference: compare_to cannot be loaded any more: %s", err)
            return None
        served = served_rows(tracks, self.networks.experts)
        return reference_outputs(tracks, networks, self.networks.outputs, served)

    def whole_loss(self) -> LossOfRows | None:
        """Loss of networks with classes, balanced on the rows of their training.

        None for others, and where these rows cannot be read any more.
        """
        if self.config is None:
            return None
        train = partial(load_split, self.config, "train")
        try:
            return whole_loss(self.config, train, self.networks.experts)
        except NNTError as err:
            why = f"the training rows cannot be read: {err}"
            log.warning("the loss covers only z and theta, as %s", why)
            return None


def load_networks(source: str) -> Networks:
    """Load the experts of a run.

    Parameters
    ----------
    source : str
        A run ID, ``runs:/ID``, ``models:/name[@alias]`` or a path to a
        ``weights.json``.

    Raises
    ------
    TrackingError
        There is no such run, or it holds no weights.
    DataError
        The weights cannot be used.
    """
    return Networks(load_weights(source))


def load_run(text: str) -> LoadedRun:
    """Load what `load_networks` does, with all that is known of its training.

    Raises `ConfigError`, too: the configuration of the run cannot be used.
    """
    path = weights_file(text)
    if path is not None:
        return LoadedRun(text=text, name=path.stem, networks=load_networks(text))
    run = open_run(text)
    networks = Networks(read_weights(read_run_weights(run)))
    config = _with_files_of(run, _config_of(run))
    return LoadedRun(
        text=text, name=run.name, networks=networks, run=run, config=config
    )


def _config_of(run: StoredRun) -> Config:
    with tempfile.TemporaryDirectory() as into:
        path = run.download("config.yaml", Path(into))
        try:
            return load_config(path)
        except ConfigError as err:
            raise ConfigError(
                f"run {run.run_id} ({run.name}): its configuration cannot be used:\n"
                f"{str(err).replace(str(path), path.name)}\n"
                "if a filter is missing, name its module with nnt --plugin; otherwise "
                "download weights.json of the run and name that file instead, with "
                "--data"
            ) from err


def _with_files_of(run: StoredRun, config: Config) -> Config:
    """Name files as the training did, from whatever directory."""
    project, files = run.project, config.data.files
    if project is None or files is None or project == Path.cwd():
        return config
    # A project that has been moved is where the command is given.
    moved = not project.is_dir()

    def place(name: str) -> str:
        return name if moved and Path(name).exists() else str(project / name)

    named = (
        {split: list(map(place, names)) for split, names in files.items()}
        if isinstance(files, Mapping)
        else list(map(place, files))
    )
    values = config.to_dict()
    return load_config({**values, "data": {**values["data"], "files": named}})


@dataclass(frozen=True, kw_only=True, slots=True)
class JudgedRows:
    """A table and where it comes from."""

    label: str
    """Short name, fit for metrics and folders."""
    tracks: Tracks
    digest: str
    """Of all rows, be they used or not."""
    source: str
    split: str | None = None
    """Split whose rows these are, as they were in the training; None for any others."""
    owner: LoadedRun | None = None
    """The training whose split they are, changed or not; None for files."""

    @property
    def description(self) -> str:
        """Where they come from, in words."""
        if self.split is None or self.owner is None:
            return self.source
        return f"the {self.split} split of {self.owner.label}"


def rows_for(
    loaded: LoadedRun, data: str | Path | Sequence[str | Path], split: str | None = None
) -> JudgedRows:
    """Read the files given, or else a split of the data of the training."""
    files = [data] if isinstance(data, str | Path) else list(data)
    if files:
        with show_progress("Reading", "bytes") as progress:
            tracks = read_tracks(files, progress=progress)
        name, digest = Path(files[0]).name.split(".")[0], tracks.digest
        label, source = re.sub(r"\W+", "_", name), ", ".join(map(str, files))
        return JudgedRows(
            label=f"{label}_{digest[:8]}", tracks=tracks, digest=digest, source=source
        )
    split = split or DEFAULT_SPLIT
    if loaded.config is None:
        raise DataError(
            f"{loaded.text}: a weights file does not say on which tracks it was "
            "trained; name track files with --data"
        )
    tracks = load_split(loaded.config, split)
    known, digest = _digest_of_training(loaded, split), tracks.digest
    same = known in (None, digest)
    if not same:
        now = f"digest now {digest:.12}, then {known:.12}"
        log.warning("%s: the rows have changed since the training (%s)", split, now)
    return JudgedRows(
        label=split if same else f"{split}_{digest[:8]}",
        tracks=tracks,
        digest=digest,
        source=split,
        split=split if same else None,
        owner=loaded,
    )


def _digest_of_training(loaded: LoadedRun, split: str) -> str | None:
    """Digest of the rows as the training saw them, where the run records it."""
    with suppress(TrackingError, ValueError, LookupError, TypeError):
        summary = "" if loaded.run is None else loaded.run.read_text("summary.json")
        digest = json.loads(summary)["data"][split]
        return digest if isinstance(digest, str) else None
    return None


def shared_rows(runs: Sequence[LoadedRun], rows: JudgedRows) -> JudgedRows:
    """Choose the rows that the first run's filter keeps and that all runs serve.

    Raises `DataError` if there are none.
    """
    kept = kept_rows(runs[0].config, rows.tracks)
    served = kept.copy()
    for loaded in runs:
        served &= served_rows(rows.tracks, loaded.networks.experts)
    if not served.any():
        raise DataError(
            f"{rows.source}: no row passes the filter of {runs[0].text} and "
            "belongs to an expert that all runs hold; compare runs of the same experts"
        )
    if left_out := kept.sum() - served.sum():
        shares = f"{left_out:,} of {kept.sum():,}"
        log.warning("%s rows left out: not all runs hold their experts", shares)
    return replace(rows, tracks=rows.tracks[served])


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """What is known of the rows that a network was trained on."""

    rows: BoolArray | None
    """Which of the rows that judge it, shape (N,); None if it is not known."""
    reason: str = ""
    """Why it is not known."""

    @property
    def share(self) -> float | None:
        """Share of the rows that it was trained on."""
        return None if self.rows is None else float(self.rows.mean())


def rows_trained_on(runs: Sequence[LoadedRun], rows: JudgedRows) -> list[Seen]:
    """Find the rows that are in the training split of each run, or of its ancestors.

    An ancestor is a run whose weights a training started from, and so on. Runs of the
    same data and split share their training rows, which are read once. Where one table
    is split by event, no row of it is in two splits; files that are named for each
    split may share rows, and are looked into.
    """
    known: dict[str, BoolArray] = {}
    config = rows.owner.config if rows.owner and rows.split in HELD_OUT else None
    if config is not None and not isinstance(config.data.files, Mapping):
        known[_origin(config)] = np.zeros(len(rows.tracks), dtype=np.bool_)
    own, found = _fingerprints(rows.tracks), []
    with show_progress("Comparing with training rows", "runs") as progress:
        for i, loaded in enumerate(runs, start=1):
            found.append(_seen(loaded, own, known))
            progress(i, len(runs))
    if warning := warning_of([one.share for one in found]):
        log.warning("%s, with --data", warning)
    return found


def warning_of(shares: Sequence[float | None]) -> str:
    """Say how many runs were trained on rows that judge them; empty if none was."""
    seen = [share for share in shares if share]
    if not seen:
        return ""
    return (
        f"{len(seen)} of {len(shares)} runs were trained on some of these rows (up "
        f"to {100 * max(seen):.0f} %), so that their metrics are too optimistic; judge "
        "on rows that none has seen"
    )


def _seen(loaded: LoadedRun, own: I64, known: dict[str, BoolArray]) -> Seen:
    rows = np.zeros(len(own), dtype=np.bool_)
    try:
        for config in _ancestry(loaded):
            origin = _origin(config)
            if origin not in known:
                used = _fingerprints(load_split(config, "train"))
                known[origin] = np.isin(own, used)
            rows |= known[origin]
    except NNTError as err:
        log.warning("%s: its training rows cannot be read: %s", loaded.name, err)
        return Seen(None, str(err))
    return Seen(rows)


def _ancestry(loaded: LoadedRun) -> Iterator[Config]:
    """Configurations of a run and of all runs that it came from."""
    waiting = [loaded]
    for _ in range(MAX_ANCESTORS):
        one = waiting.pop()
        if one.config is None:
            raise DataError(
                f"{one.text}: a weights file does not say on which rows it was "
                "trained; name the run instead"
            )
        yield one.config
        waiting += [load_run(source) for source in _sources(one, one.config)]
        if not waiting:
            return
    raise DataError(f"{loaded.text}: more than {MAX_ANCESTORS} ancestors")


def _sources(loaded: LoadedRun, config: Config) -> list[str]:
    """Runs that a training took weights from, by names that stay."""
    noted = "" if loaded.run is None else loaded.run.tags.get(STARTED_FROM, "")
    named = noted.split()
    if not noted:
        own = [config.for_expert(k).load_pre_trained_weights for k in config.experts]
        named = [source for source in dict.fromkeys(own) if source is not None]
    for source in named:
        if source == UNKNOWN_RUN or weights_file(source) or "@" in source:
            name = "a weights file" if source == UNKNOWN_RUN else source
            raise DataError(
                f"{loaded.text} started from {name}, which does not say on which rows "
                "it was trained"
            )
    return named


def _origin(config: Config) -> str:
    """What the split of the rows follows from."""
    parts = config.to_dict()["data"], config.seed_of_split, config.chain
    return json.dumps(parts, sort_keys=True, default=str)


def _fingerprints(tracks: Tracks) -> I64:
    """Number rows by their inputs and targets, shape (N,).

    Without hit patterns: a network may have been trained on the same rows without.
    """
    kinds = tracks.inputs_by_superlayer[:, :, : len(INPUT_KINDS)]
    return numbers_of_rows(kinds.reshape(len(tracks), N_INPUTS), tracks.targets)
