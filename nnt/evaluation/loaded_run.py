"""What is evaluated: the networks of a run, and how they were trained."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from nnt.config import Config, load_config, resolve
from nnt.errors import ConfigError, NNTError
from nnt.judging import Outputs, WholeLoss, reference_outputs, served_rows
from nnt.networks import Networks, read_weights
from nnt.tracking import (
    StoredRun,
    load_weights,
    open_run,
    read_run_weights,
    weights_file,
)
from nnt.tracks import Tracks
from nnt.training.data import load_split
from nnt.training.earlier_networks import reference_networks

log = logging.getLogger(__name__)

Values = dict[str, Any]
Repair = tuple[Callable[[Values], Values], str]
"""What to change in the values of a configuration, and what that means."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LoadedRun:
    """Networks to be judged, in floats or in integers."""

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

    def whole_loss(self) -> WholeLoss | None:
        """Loss of networks with classes, balanced on the rows of their training.

        None for others, and where these rows cannot be read any more.
        """
        if self.config is None:
            return None
        train = partial(load_split, self.config, "train")
        try:
            return WholeLoss.of_training(self.config, train, self.networks.experts)
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

    Raises
    ------
    TrackingError, DataError
        As there.
    ConfigError
        The configuration of the run cannot be used.
    """
    path = weights_file(text)
    if path is not None:
        return LoadedRun(text=text, name=path.stem, networks=load_networks(text))
    run = open_run(text)
    networks = Networks(read_weights(read_run_weights(run)))
    with tempfile.TemporaryDirectory() as into:
        config = _config_of(run, run.download("config.yaml", Path(into)))
    config = _with_files_of(run, config)
    return LoadedRun(
        text=text, name=run.name, networks=networks, run=run, config=config
    )


def _config_of(run: StoredRun, path: Path) -> Config:
    try:
        return load_config(path)
    except ConfigError as err:
        for repairs in REPAIRS:
            with suppress(ConfigError, LookupError, TypeError, AttributeError):
                values = dict(resolve(path)[1])
                for repair, _ in repairs:
                    values = repair(values)
                config = load_config(values)
                for _, consequence in repairs:
                    log.warning("run %s (%s): %s", run.run_id, run.name, consequence)
                return config
        raise ConfigError(
            f"run {run.run_id} ({run.name}): its configuration cannot be used:\n"
            f"{str(err).replace(str(path), path.name)}\n"
            "if a filter is missing, name its module with nnt --plugin; otherwise "
            "download weights.json of the run and name that file instead, with --data"
        ) from err


def _with_files_of(run: StoredRun, config: Config) -> Config:
    """Name files as the training did, from whatever directory."""
    project, files = run.project, config.data.files
    if project is None or files is None or project == Path.cwd():
        return config

    def found(names: Sequence[str]) -> list[str]:
        # A project that has been moved is where the command is given.
        moved = not project.is_dir()
        return [
            name if moved and Path(name).exists() else str(project / name)
            for name in names
        ]

    named = (
        {split: found(names) for split, names in files.items()}
        if isinstance(files, Mapping)
        else found(files)
    )
    values = config.to_dict()
    return load_config({**values, "data": {**values["data"], "files": named}})


def _with_simulation_of_today(values: Values) -> Values:
    """Keep of a simulation of another version how many tracks it made, and its seed."""
    data = values["data"]
    kept = {key: data["simulate"][key] for key in ("tracks", "seed")}
    return {**values, "data": {**data, "simulate": kept}}


def _without_dist(values: Values) -> Values:
    """Leave out which rows were drawn more often: only a training needs to know."""
    return {
        key: _without_dist(value) if key.startswith("expert_") else value
        for key, value in values.items()
        if key != "dist"
    }


NO_DIST: Repair = (
    _without_dist,
    "this version of NNT does not accept its dist, which no metric depends on",
)
OTHER_SIMULATION: Repair = (
    _with_simulation_of_today,
    "the simulation had other settings then; rows that it makes now are not those of "
    "the training",
)
REPAIRS = ((NO_DIST,), (OTHER_SIMULATION,), (NO_DIST, OTHER_SIMULATION))
"""What makes a configuration of an earlier version readable, least change first."""
