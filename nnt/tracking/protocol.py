"""What a training needs from a tracker."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from threading import Event
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt

from nnt.tracking.stored_run import StoredRun
from nnt.tracks import Tracks

__all__ = ["Outcome", "Run", "Tracker"]

Outcome = Literal["FINISHED", "FAILED", "KILLED", "PRUNED"]
"""How a run ended. The status of a pruned one is FINISHED: it ended in order."""


class Run(Protocol):
    """One run, parent or child. No call waits for the store, and none fails."""

    run_id: str
    experiment_id: str
    directory: Path
    """Local files of the run; they stay when the process ends."""

    def log_params(self, params: Mapping[str, object]) -> None:
        """Set parameters, once each."""

    def set_tags(self, tags: Mapping[str, str]) -> None:
        """Set or change tags."""

    def log_metrics(
        self, metrics: Mapping[str, float], step: int, time_ms: int | None = None
    ) -> None:
        """Add a point to each curve, unless it has one at this step."""

    def log_file(self, path: Path, folder: str = "") -> None:
        """Keep a file as an artifact, as it is when the writer reaches it."""

    def log_text(self, text: str, path: str) -> None:
        """Keep text as an artifact."""

    def log_bytes(self, data: bytes, path: str) -> None:
        """Keep bytes as an artifact."""

    def log_image(self, image: npt.NDArray[np.uint8], key: str, step: int) -> None:
        """Add an image, shape (height, width, 3), to the live images of a run."""

    def log_dataset(
        self, name: str, digest: str, source: str, context: str, n_rows: int
    ) -> None:
        """Name a table as input of the run."""

    def log_model(self, weights: Path, example: Tracks) -> None:
        """Keep networks as the artifact ``model``, which others can serve."""

    def finish(
        self, outcome: Outcome, reason: str = "", *, resumable: bool = False
    ) -> None:
        """End the run, once all that was logged before has been delivered."""


class Tracker(Protocol):
    """Opens runs and delivers what they log."""

    uri: str

    def start_run(
        self,
        name: str,
        *,
        description: str,
        tags: Mapping[str, str],
        expected_points: int = 0,
    ) -> Run:
        """Open a parent run; curves are thinned as those of a child."""
        ...

    def start_child(
        self, parent: Run, name: str, tags: Mapping[str, str], expected_points: int = 0
    ) -> Run:
        """Open a run nested under a parent; curves are thinned to about 130 points."""
        ...

    def resume_run(self, run_id: str, expected_points: int = 0) -> Run:
        """Go on in a run, parent or child, that was interrupted."""
        ...

    def interrupted(self) -> list[StoredRun]:
        """Trainings in the store whose process on this host has died."""
        ...

    def catch_up(self, run: StoredRun) -> bool:
        """Deliver what a dead process has left of a run; return whether it left any."""
        ...

    def close(self, stop: Event | None = None) -> int:
        """Deliver what is left, in seconds if `stop` is set; return how much stays."""
        ...
