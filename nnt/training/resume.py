"""A run that was interrupted, and whether a training may continue it."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from nnt.engine import checkpoint_exists
from nnt.errors import TrackingError, TrainingError, shorten
from nnt.tracking import (
    StoredRun,
    Tracker,
    hide_passwords,
    is_of_expert,
    open_run,
)
from nnt.tracking.store_uri import is_same_store
from nnt.training.data import TrainingInputs

log = logging.getLogger(__name__)

CHECKPOINT = Path("checkpoints") / "last.safetensors"
"""In the local directory of an expert's run, and among its artifacts."""

IGNORED = ("workers", "description", "category", "data", "predictions")
"""Keys without influence on the result; rows are compared by their digest."""

FIXED = (
    "model", "chain", "in_size", "hidden", "outputs", "out_size", "act", "loss",
    "class_loss", "class_weight", "classes", "average", "teach_from", "optim",
    "experts", "seed", "filter", "dist", "engine", "whiten",
)  # fmt: skip
"""Keys without which a checkpoint has no meaning: not even by force."""

ROWS = "data"
TAGS = {
    ROWS: "data.digest",
    "code, commit": "git.commit",
    "code, uncommitted changes": "git.diff",
    "code, version of NNT": "nnt.version",
}
"""What else has to be the same, and the tag that tells."""
MAX_SHOWN = 20
MAX_PARAM = 6000
"""Longer values are cut in the store."""


@dataclass(frozen=True, slots=True)
class Resume:
    """Which run to continue."""

    run: str
    """As `open_run` takes it."""
    force: bool = False
    """Although the code or parts of the configuration have changed."""


def check_resumable(run: StoredRun, inputs: TrainingInputs, *, force: bool) -> None:
    """Refuse a training whose end would not be that of the run.

    Raises
    ------
    TrainingError
        Data, configuration or code differ; with `force`, only where the checkpoints
        have no meaning for the training.
    """
    found = _differences(run, inputs)
    if force:
        for difference in found.values():
            log.warning("resumed by force: %s", difference)
    fixed = [key for key in found if key == ROWS or _is_in(key, FIXED)]
    refused = fixed if force else list(found)
    if not refused:
        return
    shown = [found[key] for key in refused[:MAX_SHOWN]]
    if len(refused) > MAX_SHOWN:
        shown.append(f"and {len(refused) - MAX_SHOWN} more")
    remedy = (
        "the checkpoints have no meaning for it; start a new training"
        if fixed
        else "repeat what the run was started with, or resume with --force"
    )
    lines = [f"run {run.run_id} cannot be resumed by this training: {remedy}"]
    raise TrainingError("\n  ".join(lines + shown))


def _differences(run: StoredRun, inputs: TrainingInputs) -> dict[str, str]:
    """In what a training differs from a run, in words."""
    now = inputs.tags
    before = {what: run.tags.get(tag, "none") for what, tag in TAGS.items()}
    found = _in_words(before, {what: now[tag] for what, tag in TAGS.items()})
    params = run.params.items()
    keys = {k.removeprefix("cfg."): v for k, v in params if k.startswith("cfg.")}
    if not keys:
        return found  # it was interrupted before it could tell
    logged = {k: hide_passwords(str(v)) for k, v in inputs.config.flat().items()}
    of_keys = _in_words(dict(sorted(keys.items())), logged)
    return found | {k: v for k, v in of_keys.items() if not _is_in(k, IGNORED)}


def _in_words(before: Mapping[str, str], now: Mapping[str, str]) -> dict[str, str]:
    """Describe what two mappings differ in, by their keys."""
    found = {}
    for key in {**before, **now}:
        if before.get(key, "")[:MAX_PARAM] != now.get(key, "")[:MAX_PARAM]:
            old, new = (shorten(of.get(key, "not set")) for of in (before, now))
            found[key] = f"{key}: {old} in the run, {new} now"
    return found


def _is_in(key: str, names: tuple[str, ...]) -> bool:
    parts = key.split(".")
    if parts[0].startswith("expert_") and len(parts) > 1:
        parts = parts[1:]
    return parts[0] in names


def find_interrupted(reference: str, tracker: Tracker) -> StoredRun:
    """Find the run to be resumed, up to date with what its process has logged.

    Raises
    ------
    TrackingError
        There is no such run.
    TrainingError
        It has ended, or it is not that of a training.
    """
    run = open_run(reference, tracker.uri)
    if not is_same_store(run.uri, tracker.uri):
        raise TrainingError(
            f"run {run.run_id} is in {run.shown_uri}, not in "
            f"{hide_passwords(tracker.uri)}; change to the directory of the run, or "
            "set MLFLOW_TRACKING_URI to its store"
        )
    named = f"run {run.run_id} ({run.name})"
    if run.is_deleted:
        raise TrainingError(
            f"{named} has been deleted; restore it with: mlflow runs restore --run-id "
            f"{run.run_id}"
        )
    if tracker.catch_up(run):
        run = open_run(reference, tracker.uri)
    if is_of_expert(run.tags):
        parent = run.tags["mlflow.parentRunId"]
        raise TrainingError(f"{named} is part of a training; resume that: {parent}")
    if "data.digest" not in run.tags:
        raise TrainingError(
            f"{named} is not a training that NNT has begun; start a new one"
        )
    outcome = run.tags.get("nnt.outcome")
    if outcome is not None and run.tags.get("nnt.resumable") != "true":
        raise TrainingError(
            f"{named} is finished ({outcome}), there is nothing to resume; to train on "
            "from its weights, start a new training with "
            f"-m load_pre_trained_weights={run.run_id}"
        )
    return run


def fetch_checkpoint(child: StoredRun, directory: Path) -> None:
    """Get the checkpoint of an expert from its run where none is at hand."""
    place = directory / CHECKPOINT
    if checkpoint_exists(place):
        return
    place.parent.mkdir(parents=True, exist_ok=True)
    try:
        child.download(CHECKPOINT.as_posix(), place.parent).replace(place)
    except TrackingError:
        missing = "%s: there is no checkpoint in %s; it starts over"
        log.warning(missing, child.name.replace("_", " "), directory)


def warn_of_interrupted(tracker: Tracker) -> None:
    """Warn of trainings whose process on this host has died, with the way on."""
    for run in tracker.interrupted():
        if "mlflow.parentRunId" in run.tags:
            continue  # whatever it is part of is resumed as a whole
        directory = run.directory
        if run.awaits_upload:
            log.warning(
                "run %s (%s) is finished, but not all of it is in the store; upload "
                "the rest with: nnt sync %s",
                *(run.run_id, run.name, directory),
            )
            continue
        command = run.tags.get("nnt.command") or f"nnt train {run.name} -p"
        # The text comes from a store; it shall not move the cursor of a terminal.
        shown = command if command.isprintable() else "the same command,"
        log.warning(
            "run %s (%s) was left RUNNING by process %s, which is gone; in %s, "
            "continue with: %s --resume %s",
            *(run.run_id, run.name, run.tags.get("nnt.pid")),
            *(directory.parent.parent.parent, shown, run.run_id),
        )
