"""What a sweep is asked to do, checked, and the run that it is kept in."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nnt.config import Config, load_config
from nnt.errors import TrackingError, TrainingError
from nnt.sweep.objectives import check_metrics, choose_pruner, directions_of
from nnt.sweep.record import RECORD
from nnt.sweep.space import Space, load_space
from nnt.sweep.study import check_search
from nnt.tracking import MlflowTracker, Run, hide_passwords, open_run
from nnt.version import __version__

UNSHOWN = ("config", "space", "description")
"""Settings that are no parameters of the run, or parameters of their own."""


def checked(
    config: Config | str | Path | Mapping[str, Any] | None,
    space: Space | str | Path | Mapping[str, Any] | None,
) -> tuple[Config, Space]:
    """Load what is varied, and how.

    Raises
    ------
    ConfigError
        Naming every mistake in them.
    """
    if config is None or space is None:
        raise TrainingError("a new sweep needs a configuration and a space")
    config = config if isinstance(config, Config) else load_config(config)
    if not isinstance(space, Space):
        space = load_space(space, config)
    if "seed" in space.dimensions and config.split_seed is None:
        # All trials are judged by the same rows.
        config = load_config(config, {"split_seed": config.seed})
    return config, space


def new_settings(
    config: Config,
    space: Space,
    trials: int | None,
    metrics: Sequence[str],
    directions: Sequence[str],
    sampler: str,
    pruner: str | None,
    seed: int,
) -> dict[str, Any]:
    """Check what a new sweep is asked to do; plain values that describe it."""
    if trials is None:
        raise TrainingError("a new sweep needs a number of trials")
    check_metrics(metrics)
    directions = directions_of(metrics, directions)
    pruner = choose_pruner(pruner, metrics)
    check_search(space, sampler, pruner, len(metrics))
    return {
        "config": config.to_dict(), "space": space.to_dict(), "trials": trials,
        "metrics": list(metrics), "directions": directions, "sampler": sampler,
        "pruner": pruner, "seed": seed,
    }  # fmt: skip


def config_of(settings: Mapping[str, Any], resume: str | None, uri: str) -> Config:
    """Give the configuration that a new sweep varies, or one that goes on."""
    if resume is None:
        return load_config(settings["config"])
    with tempfile.TemporaryDirectory() as into:
        return load_config(open_run(resume, uri).download("config.yaml", Path(into)))


def open_sweep_run(
    tracker: MlflowTracker,
    settings: Mapping[str, Any],
    resume: str | None,
    command: str,
) -> Run:
    """Open the run of a new sweep, or continue that of one that was interrupted."""
    if resume is None:
        name, description = settings["config"]["name"], settings["description"]
        tags = {
            "nnt.kind": "sweep", "config": name, "nnt.version": __version__,
            "nnt.description": description, "nnt.command": command,
        }  # fmt: skip
        run = tracker.start_run(
            f"sweep of {name}", description=description,
            tags={k: v for k, v in tags.items() if v},
        )  # fmt: skip
        config = load_config(settings["config"])
        run.log_text(hide_passwords(config.to_yaml()), "config.yaml")
        shown = {k: v for k, v in settings.items() if k not in UNSHOWN}
        run.log_params({f"sweep.{k}": v for k, v in shown.items()})
        run.log_params({f"space.{k}": v for k, v in settings["space"].items()})
        return run
    stored = open_run(resume, tracker.uri)
    if stored.tags.get("nnt.kind") != "sweep":
        raise TrainingError(
            f"run {stored.run_id} ({stored.name}) is not a sweep; resume a training "
            "with nnt train --resume"
        )
    tracker.catch_up(stored)
    run = tracker.resume_run(stored.run_id)
    if not (run.directory / RECORD).is_file():
        try:
            stored.download(RECORD, run.directory)
        except TrackingError as err:
            message = (
                f"{run.directory / RECORD}: the record of the sweep does not exist; "
                "resume the sweep in the directory where it was started"
            )
            run.finish("KILLED", message, resumable=True)
            raise TrackingError(message) from err
    return run
