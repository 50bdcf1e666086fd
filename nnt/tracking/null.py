"""Runs that no store hears of: their files stay in a local directory."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from pathlib import Path
from threading import Event

import numpy as np
import numpy.typing as npt

from nnt.errors import TrackingError
from nnt.tracking.protocol import Outcome, Run
from nnt.tracking.stored_run import StoredRun
from nnt.tracks import Tracks

__all__ = ["NullRun", "NullTracker"]


class NullRun:
    """A run that keeps artifacts and forgets the rest."""

    def __init__(self, directory: Path) -> None:
        self.run_id = uuid.uuid4().hex
        self.experiment_id = "0"
        self.directory = directory / self.run_id
        self.directory.mkdir(parents=True)

    def log_params(self, params: Mapping[str, object]) -> None:
        """Forget parameters."""

    def set_tags(self, tags: Mapping[str, str]) -> None:
        """Forget tags."""

    def log_metrics(
        self, metrics: Mapping[str, float], step: int, time_ms: int | None = None
    ) -> None:
        """Forget a point; ``metrics.csv`` of an expert holds it."""

    def log_file(self, path: Path, folder: str = "") -> None:
        """Leave a file where it is."""

    def log_text(self, text: str, path: str) -> None:
        """Keep text in the directory of the run."""
        self.log_bytes(text.encode(), path)

    def log_bytes(self, data: bytes, path: str) -> None:
        """Keep bytes in the directory of the run."""
        place = self.directory / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(data)

    def log_image(self, image: npt.NDArray[np.uint8], key: str, step: int) -> None:
        """Forget a live image."""

    def log_dataset(
        self, name: str, digest: str, source: str, context: str, n_rows: int
    ) -> None:
        """Forget the name of a table."""

    def log_model(self, weights: Path, example: Tracks) -> None:
        """Leave the networks to ``weights.json``."""

    def finish(
        self, outcome: Outcome, reason: str = "", *, resumable: bool = False
    ) -> None:
        """End."""


class NullTracker:
    """A tracker without a store, for trainings inside other programs.

    Parameters
    ----------
    directory : str or Path
        Runs get directories of their own in it.
    """

    def __init__(self, directory: str | Path) -> None:
        self._directory = Path(directory)
        self.uri = str(self._directory)

    def start_run(
        self,
        name: str,
        *,
        description: str,
        tags: Mapping[str, str],
        expected_points: int = 0,
    ) -> Run:
        """Open a parent run."""
        return NullRun(self._directory)

    def start_child(
        self, parent: Run, name: str, tags: Mapping[str, str], expected_points: int = 0
    ) -> Run:
        """Open a run under a parent."""
        return NullRun(parent.directory)

    def resume_run(self, run_id: str, expected_points: int = 0) -> Run:
        """Refuse: nothing is known of runs that ended.

        Raises
        ------
        TrackingError
            Always.
        """
        raise TrackingError(
            f"run {run_id} cannot be resumed without a store; train with MlflowTracker"
        )

    def interrupted(self) -> list[StoredRun]:
        """Know of none."""
        return []

    def catch_up(self, run: StoredRun) -> bool:
        """Know of nothing that is left."""
        return False

    def close(self, stop: Event | None = None) -> int:
        """End; there is nothing to deliver."""
        return 0
