"""What a training needs from a tracker; as it stands, for trainings without a store."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from pathlib import Path
from threading import Event
from typing import Literal

import numpy as np
import numpy.typing as npt

from nnt.errors import TrackingError
from nnt.tracking.stored_run import StoredRun
from nnt.tracks import Tracks

__all__ = ["Outcome", "Run", "Tracker"]

Outcome = Literal["FINISHED", "FAILED", "KILLED", "PRUNED"]
"""How a run ended. The status of a pruned one is FINISHED: it ended in order."""


class Run:
    """One run, parent or child, that keeps artifacts as local files and no more.

    Runs in a store (`MlflowRun`) do all that the methods say. No call waits for the
    store, and none fails.

    Parameters
    ----------
    directory : Path
        The run gets a directory of its own in it.
    """

    run_id: str
    experiment_id: str
    directory: Path
    """Local files of the run; they stay when the process ends."""

    def __init__(self, directory: Path) -> None:
        self.run_id = uuid.uuid4().hex
        self.experiment_id = "0"
        self.directory = directory / self.run_id
        self.directory.mkdir(parents=True)

    def log_params(self, params: Mapping[str, object]) -> None:
        """Set parameters, once each."""

    def set_tags(self, tags: Mapping[str, str]) -> None:
        """Set or change tags."""

    def log_metrics(
        self, metrics: Mapping[str, float], step: int, time_ms: int | None = None
    ) -> None:
        """Add a point to each curve, unless it has one at this step."""

    def log_model_metrics(
        self, metrics: Mapping[str, float], step: int, name: str, digest: str
    ) -> None:
        """Log metrics of the networks on a dataset, to the run and to its model."""

    def log_file(self, path: Path, folder: str = "") -> None:
        """Keep a file as an artifact, as it is when the writer reaches it."""

    def log_text(self, text: str, path: str) -> None:
        """Keep text as an artifact."""
        self.log_bytes(text.encode(), path)

    def log_bytes(self, data: bytes, path: str) -> None:
        """Keep bytes as an artifact, and among the local files of the run."""
        place = self.directory / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(data)

    def log_image(self, image: npt.NDArray[np.uint8], key: str, step: int) -> None:
        """Add an image, shape (height, width, 3), to the live images of a run."""

    def log_dataset(
        self, name: str, digest: str, source: str, context: str, n_rows: int
    ) -> None:
        """Name a table as input of the run."""

    def log_model(
        self,
        weights: Path,
        example: Tracks,
        params: Mapping[str, object] | None = None,
    ) -> None:
        """Keep networks as an MLflow model, which others can find and serve."""

    def finish(
        self, outcome: Outcome, reason: str = "", *, resumable: bool = False
    ) -> None:
        """End the run, once all that was logged before has been delivered."""


class Tracker:
    """Opens runs that no store hears of, for trainings inside other programs.

    Parameters
    ----------
    directory : str or Path
        Runs get directories of their own in it.
    """

    def __init__(self, directory: str | Path) -> None:
        self.uri = str(directory)

    def start_run(
        self,
        name: str,
        *,
        description: str,
        tags: Mapping[str, str],
        expected_points: int = 0,
    ) -> Run:
        """Open a parent run; curves are thinned as those of a child."""
        return Run(Path(self.uri))

    def start_child(
        self, parent: Run, name: str, tags: Mapping[str, str], expected_points: int = 0
    ) -> Run:
        """Open a run nested under a parent; curves are thinned to about 130 points."""
        return Run(parent.directory)

    def resume_run(self, run_id: str, expected_points: int = 0) -> Run:
        """Continue a run, parent or child, that was interrupted.

        Raises
        ------
        TrackingError
            The run is not there, or nothing is known of runs that ended.
        """
        raise TrackingError(
            f"run {run_id} cannot be resumed without a store; train with MlflowTracker"
        )

    def interrupted(self) -> list[StoredRun]:
        """Trainings in the store whose process on this host has died."""
        return []

    def catch_up(self, run: StoredRun) -> bool:
        """Deliver what a dead process has left of a run; return whether it left any."""
        return False

    def close(self, stop: Event | None = None) -> int:
        """Deliver what is left, in seconds if `stop` is set; return how much stays."""
        return 0
