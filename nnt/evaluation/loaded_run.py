"""What is evaluated: the networks of a run, and how they were trained."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from nnt.config import Config, load_config, resolve
from nnt.errors import ConfigError, NNTError
from nnt.judging import (
    Losses,
    Outputs,
    WholeLoss,
    kept_rows,
    reference_outputs,
    served_rows,
)
from nnt.networks import Networks, read_weights
from nnt.tracking import StoredRun, load_weights, open_run, read_run_weights
from nnt.tracks import Tracks
from nnt.training.data import load_split
from nnt.training.inputs import reference_networks

__all__ = ["LoadedRun", "load_networks", "load_run"]

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class LoadedRun:
    """Networks to be judged."""

    text: str
    """What the user wrote."""
    name: str
    networks: Networks
    run: StoredRun | None
    """None for a file of weights."""
    config: Config | None
    """That of the training; None for a file of weights."""

    @property
    def losses(self) -> Losses:
        """Losses of the training."""
        return Losses() if self.config is None else Losses.of(self.config)

    def kept(self, tracks: Tracks) -> npt.NDArray[np.bool_]:
        """Rows that pass the filter of the training."""
        if self.config is None:
            return np.ones(len(tracks), dtype=np.bool_)
        return kept_rows(self.config, tracks)

    def reference(self, tracks: Tracks) -> Outputs | None:
        """Outputs to compare with: of the run of `compare_to`, or else of the data."""
        try:
            networks = None if self.config is None else reference_networks(self.config)
        except NNTError as err:
            log.warning("no reference: compare_to cannot be loaded any more: %s", err)
            return None
        served = served_rows(tracks, self.networks.experts)
        return reference_outputs(tracks, networks, self.networks.outputs, served)

    def whole_loss(self) -> WholeLoss | None:
        """Loss of networks with classes, balanced on the rows of their training.

        None for others, and where these rows cannot be read any more.
        """
        if self.config is None or not WholeLoss.is_needed(self.config):
            return None
        try:
            train = load_split(self.config, "train")
        except NNTError as err:
            log.warning("the loss is that of z and theta: no training rows: %s", err)
            return None
        return WholeLoss.of_training(self.config, train, self.networks.experts)


def load_run(text: str) -> LoadedRun:
    """Load the networks that a run, a registered model or a file stands for.

    Parameters
    ----------
    text : str
        A run ID, ``runs:/ID[/path]``, ``models:/name[@alias]`` or a path to a
        ``weights.json``.

    Raises
    ------
    TrackingError
        There is no such run, or it holds no weights.
    DataError
        The weights cannot be used.
    """
    if text.endswith(".json") and ":/" not in text:
        networks = Networks(load_weights(text))
        return LoadedRun(
            text=text, name=Path(text).stem, networks=networks, run=None, config=None
        )
    run = open_run(text)
    weights = read_weights(read_run_weights(run))
    with tempfile.TemporaryDirectory() as into:
        config = _config_of(run, run.download("config.yaml", Path(into)))
    config = _with_files_of(run, config)
    return LoadedRun(
        text=text, name=run.name, networks=Networks(weights), run=run, config=config
    )


def _config_of(run: StoredRun, path: Path) -> Config:
    try:
        return load_config(path)
    except ConfigError as err:
        config = _with_simulation_of_today(path)
        if config is not None:
            log.warning(
                "run %s (%s): the simulation had other settings then; rows that it "
                "makes now are not those of the training",
                run.run_id,
                run.name,
            )
            return config
        raise ConfigError(
            f"run {run.run_id} ({run.name}): its configuration is not one of this "
            "version of NNT; download its weights.json and name that file instead, "
            f"with --data\n{str(err).replace(str(path), path.name)}"
        ) from err


def _with_files_of(run: StoredRun, config: Config) -> Config:
    """Name files as the training did, from whatever directory."""
    project, files = run.project, config.data.files
    if project is None or files is None or project == Path.cwd():
        return config

    def found(names: Sequence[str]) -> tuple[str, ...]:
        # A project that has been moved is where the command is given.
        return tuple(
            name
            if not project.is_dir() and Path(name).exists()
            else str(project / name)
            for name in names
        )

    named = (
        {split: found(names) for split, names in files.items()}
        if isinstance(files, Mapping)
        else found(files)
    )
    values = config.to_dict()
    return load_config({**values, "data": {**values["data"], "files": named}})


def _with_simulation_of_today(path: Path) -> Config | None:
    """Keep of a simulation of another version how many tracks it made, and its seed."""
    _, merged = resolve(path)
    values = dict(merged.values)
    try:
        simulate = values["data"]["simulate"]
        told = {key: simulate[key] for key in ("tracks", "seed")}
        return load_config({**values, "data": {**values["data"], "simulate": told}})
    except (ConfigError, LookupError, TypeError):
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
