"""From a run to the files that the trigger loads."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nnt.errors import ExportError
from nnt.export.files import export
from nnt.export.payload import Payload
from nnt.export.settings import read_settings
from nnt.export.source import Source, class_cuts
from nnt.networks import read_weights
from nnt.tracking import (
    StoredRun,
    open_run,
    read_run_weights,
    untrained_experts,
)

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


CUT_SOURCES = ("test_fixed_point/", "test/", "val_fixed_point/", "val/")
"""Where the cuts on the class are read from, the best first."""


def export_run(
    run: str,
    target: str,
    folder: str | Path,
    *,
    settings: str | Path | None = None,
    precision: tuple[int, ...] | None = None,
    saturate_13_bit: bool = False,
    outputs: Sequence[str] | None = None,
    overwrite: bool = False,
    payload: Payload | None = None,
) -> dict[str, Any]:
    """Write the files of a run for deployment, checked, with a manifest.

    Parameters
    ----------
    run : str
        A run ID, ``runs:/ID``, ``models:/name[@alias]``, or a path to a
        ``weights.json``.
    target, folder
        As of `export`.
    settings : str or Path, optional
        The configuration with which BASF2 wrote the training data.
    precision, saturate_13_bit
        As of `nnt.export.source.Request`.
    outputs : sequence of str, optional
        Names of the outputs to hand over; default: all.
    overwrite, payload
        As of `export`.

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
    source = load_source(run)
    return export(
        source if outputs is None else source.with_outputs(outputs),
        target,
        Path(folder),
        settings=None if settings is None else read_settings(Path(settings)),
        precision=precision,
        saturate_13_bit=saturate_13_bit,
        overwrite=overwrite,
        payload=payload,
    )


def load_source(run: str) -> Source:
    """Read the experts of a run, or of a ``weights.json``, and what made them.

    Raises
    ------
    TrackingError, DataError
        The run or the file cannot be read.
    ExportError
        The run is a comparison, or an expert has not been trained.
    """
    path = Path(run)
    if path.suffix == ".json" and ":/" not in run:
        experts = read_weights(path)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        return Source(name=run, experts=experts, facts={"weights_sha256": digest})
    stored = open_run(run)
    _check_kind(stored)
    content = read_run_weights(stored)
    return Source(
        f"run {stored.run_id}",
        read_weights(content),
        _facts(stored) | {"weights_sha256": hashlib.sha256(content).hexdigest()},
        class_cuts(stored.metrics, CUT_SOURCES),
    )


def _check_kind(run: StoredRun) -> None:
    """Refuse a run whose networks nobody should deploy."""
    if compared := run.tags.get("nnt.compared"):
        named = " or ".join(compared.split())
        raise ExportError(
            f"run {run.run_id} is a comparison and holds no networks; export one of "
            f"the runs that it compares: {named}"
        )
    if evaluated := run.tags.get("nnt.evaluated"):
        raise ExportError(
            f"run {run.run_id} is an evaluation and holds no networks; export the run "
            f"that it judges: {evaluated}"
        )
    if untrained := untrained_experts(run):
        named = ", ".join(str(k) for k in untrained)
        parent = run.tags.get("mlflow.parentRunId", run.run_id)
        raise ExportError(
            f"run {run.run_id} ({run.name}): not trained: expert {named}, whose "
            f"weights are still random; finish the training with --resume {parent}"
        )


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
