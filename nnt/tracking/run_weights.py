"""The weights that a run holds, and whether its experts were trained at all."""

from __future__ import annotations

import logging
import tempfile
from pathlib import Path

from nnt.files import expand_path
from nnt.networks import ExpertWeights, read_weights
from nnt.networks.weights import MAX_BYTES
from nnt.tracking.store_uri import default_uri
from nnt.tracking.stored_run import StoredRun, open_run

log = logging.getLogger(__name__)

WEIGHTS_FILE = "weights.json"
EVERY_EPOCH = "train/loss"
"""A metric that each epoch logs, so that a run without it has seen no epoch."""
START = "cfg.load_pre_trained_weights"
UNSET = ("null", "None")
"""How a parameter without a value was logged: now and formerly."""
UNKNOWN_RUN = "unknown"
"""Stands for the run of weights that came from a file."""


def load_weights(source: str) -> dict[int, ExpertWeights]:
    """Read the experts of a ``weights.json``, or of what `open_run` takes.

    Raises
    ------
    TrackingError
        There is no such run, or it holds no weights.
    DataError
        The file is not a ``weights.json``.
    """
    path = weights_file(source)
    if path is not None:
        return read_weights(path)
    return read_weights(read_run_weights(open_run(source)))


def weights_file(source: str) -> Path | None:
    """The file of weights that a text names; None where it names a run."""
    is_file = source.endswith(".json") and ":/" not in source
    return Path(expand_path(source)) if is_file else None


def run_of_weights(source: str) -> str | None:
    """Name the run that `load_weights` reads, for good; None for a file."""
    if weights_file(source) is not None:
        return None
    run = open_run(source)
    is_elsewhere = run.uri != default_uri()
    return f"{run.shown_uri}#{run.run_id}" if is_elsewhere else run.run_id


def read_run_weights(run: StoredRun) -> bytes:
    """Read the ``weights.json`` of a run, and warn of experts that are untrained."""
    with tempfile.TemporaryDirectory() as into:
        path = run.download(run.path or WEIGHTS_FILE, Path(into), MAX_BYTES)
        content = path.read_bytes()
    if untrained := untrained_experts(run):
        log.warning(
            "run %s (%s): %s %s saw no epoch of training and still held random "
            "weights when the run ended; finish it with --resume %s",
            run.run_id,
            run.name,
            "experts" if len(untrained) > 1 else "expert",
            ", ".join(map(str, untrained)),
            run.tags.get("mlflow.parentRunId", run.run_id),
        )
    return content


def untrained_experts(run: StoredRun) -> list[int]:
    """Name the experts that have seen no epoch, and did not start from a network."""
    return sorted(
        expert
        for expert, child in run.experts().items()
        if EVERY_EPOCH not in child.metrics
        and child.params.get(START, run.params.get(START, UNSET[0])) in UNSET
    )
