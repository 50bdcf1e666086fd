"""From a run to the files that the trigger loads."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from nnt.export import Source, export, read_settings
from nnt.networks import read_weights
from nnt.tracking import StoredRun, open_run, read_run_weights

__all__ = ["export_run", "load_source"]

FACTS = {
    "config": "config",
    "git_commit": "git.commit",
    "git_dirty": "git.dirty",
    "data_digest": "data.digest",
    "nnt_version_of_training": "nnt.version",
    "outcome": "nnt.outcome",
}
"""Name in the manifest -> tag of the run."""


def export_run(
    run: str,
    target: str,
    folder: str | Path,
    *,
    settings: str | Path | None = None,
    precision: tuple[int, ...] | None = None,
    saturate_13_bit: bool = False,
    overwrite: bool = False,
) -> dict[str, Any]:
    """Write the files of a run for deployment, checked, with a manifest.

    Parameters
    ----------
    run : str
        A run ID, ``runs:/ID``, ``models:/name[@alias]``, or a path to a
        ``weights.json``.
    target : str
        ``"json"``, ``"basf2"``, ``"fpga"``, ``"3dh"`` or ``"onnx"``.
    folder : str or Path
        Where the files go.
    settings : str or Path, optional
        The configuration with which BASF2 wrote the training data.
    precision : tuple of 6 int, optional
        Fractional bits of the firmware's arithmetic; default: those that the run was
        trained for, else those of the settings.
    saturate_13_bit : bool
        For ``onnx``: keep integer outputs in a signed word.
    overwrite : bool
        Replace files that are there.

    Returns
    -------
    dict
        The manifest.

    Raises
    ------
    ExportError
        The target cannot hold the networks, or a check failed.
    TrackingError, DataError
        The run or the file cannot be read.
    """
    return export(
        load_source(run),
        target,
        Path(folder),
        settings=None if settings is None else read_settings(Path(settings)),
        precision=precision,
        saturate_13_bit=saturate_13_bit,
        overwrite=overwrite,
    )


def load_source(run: str) -> Source:
    """Read the experts of a run, or of a ``weights.json``, and what made them.

    Raises
    ------
    TrackingError, DataError
        The run or the file cannot be read.
    """
    path = Path(run)
    if path.suffix == ".json" and ":/" not in run:
        experts = read_weights(path)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        return Source(name=run, experts=experts, facts={"weights_sha256": digest})
    stored = open_run(run)
    content = read_run_weights(stored)
    facts = _facts(stored) | {"weights_sha256": hashlib.sha256(content).hexdigest()}
    return Source(f"run {stored.run_id}", read_weights(content), facts)


def _facts(run: StoredRun) -> dict[str, str]:
    tags = {name: run.tags[tag] for name, tag in FACTS.items() if tag in run.tags}
    parent = run.tags.get("mlflow.parentRunId")
    return {
        "run_id": run.run_id,
        "run_name": run.name,
        "tracking_uri": run.shown_uri,
        **({"parent_run_id": parent} if parent else {}),
        **tags,
    }
