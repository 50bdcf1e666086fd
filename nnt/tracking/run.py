"""A run in MLflow, as a training or an evaluation sees it."""

from __future__ import annotations

import logging
import math
import re
import shutil
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from nnt.errors import TrackingError
from nnt.tracking.base import Outcome, Run
from nnt.tracking.curves import Curves
from nnt.tracking.model import save_model
from nnt.tracking.outbox import Outbox
from nnt.tracking.store_uri import hide_passwords
from nnt.tracks import Tracks

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run as MlflowEntity

__all__ = ["NOTHING", "AlreadyLogged", "MlflowRun", "logged_by"]

log = logging.getLogger(__name__)

IMAGE = re.compile(r"images/(?P<key>\w+)[%+]step[%+](?P<step>\d+)[%+].*")
"""How MLflow names the files of `log_image`."""

MAX_VALUE = 6000
MAX_PARAMS = 100
MAX_DIGEST = 36
MODEL_FOLDER = "model"
THUMBNAIL = (256, 256)
LIVE_IMAGES = "live_images"
"""Folder of images that have not been delivered yet."""


@dataclass(frozen=True, slots=True)
class AlreadyLogged:
    """Names of what a run holds; empty for a new run."""

    points: Mapping[tuple[str, int], float] = field(default_factory=dict)
    """Last value of metrics, by name and step."""
    params: frozenset[str] = frozenset()
    images: frozenset[tuple[str, int]] = frozenset()
    """Live images with their steps."""

    def has(self, name: str, step: int, value: float) -> bool:
        """Whether a point is there, so that it need not be sent again.

        What is logged at step 0 belongs to the end. A run may have been evaluated
        before its training went on: then the end has another value, which counts.
        """
        if (name, step) not in self.points:
            return False
        known = self.points[name, step]
        return step != 0 or known == value or (math.isnan(known) and math.isnan(value))


NOTHING = AlreadyLogged()
"""Of a new run."""


def logged_by(client: MlflowClient, run: MlflowEntity) -> AlreadyLogged:
    """Ask the store what a run holds.

    Raises
    ------
    MlflowException
        The store does not answer.
    """
    run_id = run.info.run_id
    points = {
        (name, int(point.step)): float(point.value)
        for name in run.data.metrics
        for point in sorted(
            client.get_metric_history(run_id, name), key=lambda p: p.timestamp
        )
    }
    files = client.list_artifacts(run_id, "images")
    found = [IMAGE.fullmatch(file.path) for file in files]
    images = {(match["key"], int(match["step"])) for match in found if match}
    return AlreadyLogged(points, frozenset(run.data.params), frozenset(images))


class MlflowRun(Run):
    """A run; every call leaves an entry in the outbox and returns at once.

    Parameters
    ----------
    outbox : Outbox
        Of the training.
    run_id : str
        In the store; for a run that no store knows yet, its name until then.
    experiment_id : str
        In the store.
    directory : Path
        Local files of the run; its parent holds those of every run.
    expected_points : int
        Points of each curve, if known.
    logged : AlreadyLogged
        What the store has already.
    """

    def __init__(
        self,
        outbox: Outbox,
        run_id: str,
        experiment_id: str,
        directory: Path,
        expected_points: int = 0,
        logged: AlreadyLogged = NOTHING,
    ) -> None:
        self._outbox = outbox
        self._curves = Curves(expected_points)
        self._logged = logged
        self.run_id = run_id
        self.experiment_id = experiment_id
        self.directory = directory
        directory.mkdir(parents=True, exist_ok=True)

    def log_params(self, params: Mapping[str, object]) -> None:
        """Set parameters, once each; longer values are cut as MLflow would."""
        values = [
            (key, hide_passwords(str(value))[:MAX_VALUE])
            for key, value in params.items()
            if key not in self._logged.params
        ]
        for start in range(0, len(values), MAX_PARAMS):
            part = dict(values[start : start + MAX_PARAMS])
            self._outbox.add(self.run_id, "params", values=part)

    def set_tags(self, tags: Mapping[str, str]) -> None:
        """Set or change tags; addresses in them lose their passwords."""
        values = {key: hide_passwords(value) for key, value in tags.items()}
        self._outbox.add(self.run_id, "tags", values=values)

    def log_metrics(
        self, metrics: Mapping[str, float], step: int, time_ms: int | None = None
    ) -> None:
        """Add a point to each curve; long curves are thinned evenly."""
        when = int(time.time() * 1000) if time_ms is None else time_ms
        if self._curves.add(metrics, step, when):
            self._note(metrics, step, when)

    def _note(self, metrics: Mapping[str, float], step: int, time_ms: int) -> None:
        new = {name: float(value) for name, value in metrics.items()}
        if self._logged.points:
            new = {k: v for k, v in new.items() if not self._logged.has(k, step, v)}
        if new:
            self._outbox.add_points(self.run_id, new, step, time_ms)

    def log_system_metrics(self, metrics: Mapping[str, float], step: int) -> None:
        """Log what the machine does, as it is: such curves have no epochs."""
        when = int(time.time() * 1000)
        self._outbox.add_points(self.run_id, dict(metrics), step, when)

    def next_step(self, prefix: str) -> int:
        """First step without a point of any curve whose name begins like this."""
        steps = [step for name, step in self._logged.points if name.startswith(prefix)]
        return max(steps, default=-1) + 1

    def log_model_metrics(
        self, metrics: Mapping[str, float], step: int, name: str, digest: str
    ) -> None:
        """Log metrics of the networks on a dataset, to the run and to its model."""
        when = int(time.time() * 1000)
        self._curves.add(metrics, step, when, is_sent=True)
        new = {
            key: float(value)
            for key, value in metrics.items()
            if not self._logged.has(key, step, value)
        }
        if new:
            self._outbox.add(
                self.run_id, "model_metrics", metrics=new, step=step, time_ms=when,
                name=name, digest=digest[:MAX_DIGEST],
            )  # fmt: skip

    def log_file(self, path: Path, folder: str = "") -> None:
        """Keep a file as an artifact."""
        self._file(self._at_hand(path), folder)

    def _file(self, path: Path, folder: str, *, is_spooled: bool = False) -> None:
        self._outbox.add(
            self.run_id, "file", path=self._relative(path), folder=folder,
            is_spooled=is_spooled,
        )  # fmt: skip

    def _relative(self, path: Path) -> str:
        return path.relative_to(self.directory.parent).as_posix()

    def _at_hand(self, path: Path) -> Path:
        """Copy a file that is not among those of the runs: it may go, they stay."""
        if path.is_relative_to(self.directory.parent):
            return path
        place = self.directory / path.name
        if path.exists():
            shutil.copyfile(path, place)
        return place

    def log_bytes(self, data: bytes, path: str) -> None:
        """Keep bytes as an artifact, and among the local files of the run."""
        super().log_bytes(data, path)
        folder = str(Path(path).parent)
        self._file(self.directory / path, "" if folder == "." else folder)

    def log_image(self, image: npt.NDArray[np.uint8], key: str, step: int) -> None:
        """Add an image, shape (height, width, 3), to the live images of a run."""
        if (key, step) in self._logged.images:
            return
        from PIL import Image

        # The form in which MLflow names them itself: its charts step through these.
        when = int(time.time() * 1000)
        name = f"{key}+step+{step}+timestamp+{when}+{uuid.uuid4()}"
        folder = self.directory / LIVE_IMAGES
        folder.mkdir(parents=True, exist_ok=True)
        full, small = folder / f"{name}.png", folder / f"{name}+compressed.webp"
        picture = Image.fromarray(image)
        picture.save(full)
        picture.thumbnail(THUMBNAIL)
        picture.save(small)
        self._file(full, "images", is_spooled=True)
        self._file(small, "images", is_spooled=True)
        self.set_tags({"mlflow.loggedImages": "True"})

    def log_dataset(
        self, name: str, digest: str, source: str, context: str, n_rows: int
    ) -> None:
        """Name a table as input of the run, under its own digest."""
        self._outbox.add(
            self.run_id, "dataset", name=name, digest=digest[:MAX_DIGEST],
            source=source[:MAX_VALUE], context=context, n_rows=n_rows,
        )  # fmt: skip

    def log_model(
        self,
        weights: Path,
        example: Tracks,
        params: Mapping[str, object] | None = None,
    ) -> None:
        """Keep networks as an MLflow model; it is written here and now, sent later."""
        folder = self.directory / MODEL_FOLDER
        try:
            save_model(folder, weights, example, self.run_id)
        except TrackingError as err:
            log.warning("tracking: %s", err)
            return
        values = {k: hide_passwords(str(v)) for k, v in (params or {}).items()}
        self._outbox.add(self.run_id, "model", values=values)
        self._outbox.add(
            self.run_id, "folder", path=self._relative(folder), folder=MODEL_FOLDER,
            is_model=True,
        )  # fmt: skip

    def finish(
        self, outcome: Outcome, reason: str = "", *, resumable: bool = False
    ) -> None:
        """End the run, once all that was logged before has been delivered."""
        if not resumable:
            for step, when, values in self._curves.rest():
                self._note(values, step, when)
            self._curves = Curves(0)
        # MLflow overwrites the status of a parent under `mlflow run`.
        because = {"nnt.reason": reason[:MAX_VALUE]} if reason else {}
        again = {"nnt.resumable": "true"} if resumable else {}
        self.set_tags({"nnt.outcome": outcome, **because, **again})
        when = int(time.time() * 1000)
        # A store knows no such status; one that ended in order has not been killed.
        status = "FINISHED" if outcome == "PRUNED" else outcome
        self._outbox.add(self.run_id, "end", status=status, time_ms=when)
