"""A run, as a training or an evaluation sees it."""

from __future__ import annotations

import logging
import re
import shutil
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from nnt.errors import TrackingError
from nnt.tracking.model import save_model
from nnt.tracking.outbox import Outbox, Points
from nnt.tracking.store_uri import hide_passwords
from nnt.tracks import Tracks

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run as MlflowEntity

log = logging.getLogger(__name__)

Outcome = Literal["FINISHED", "FAILED", "KILLED", "PRUNED"]
"""How a run ended. The status of a pruned one is FINISHED: it ended in order."""

IMAGE = re.compile(
    r"images/(?P<key>.+?)[%+]step[%+](?P<step>\d+)[%+]timestamp[%+](?P<time>\d+)[%+].*"
)
"""How MLflow names the files of `log_image`."""

MAX_POINTS = 100
"""Points of a curve, and a few; ``metrics.csv`` holds every epoch.

MLflow takes 70 to 140 us for each of them, so that many more would slow a fast training
down.
"""
SYSTEM = "system/"
"""Prefix of the curves of what the machine does, as in MLflow."""
MAX_VALUE = 6000
MAX_DIGEST = 36
MODEL_FOLDER = "model"
THUMBNAIL = (256, 256)
LIVE_IMAGES = "live_images"
"""Folder of images that have not been delivered yet."""


def now_ms() -> int:
    """Unix time in milliseconds, as MLflow counts it."""
    return int(time.time() * 1000)


@dataclass(frozen=True, slots=True)
class Held:
    """What a run that goes on holds already."""

    params: frozenset[str] = frozenset()
    images: frozenset[tuple[str, int]] = frozenset()
    """Live images with their steps."""
    n_samples: int = 0
    """Of the machine."""


def held_by(client: MlflowClient, run: MlflowEntity) -> Held:
    """Ask the store what a run holds."""
    run_id = run.info.run_id
    files = client.list_artifacts(run_id, "images")
    found = [IMAGE.fullmatch(file.path) for file in files]
    images = {(match["key"], int(match["step"])) for match in found if match}
    # The curves of the machine have the same steps.
    sampled = [name for name in run.data.metrics if name.startswith(SYSTEM)][:1]
    samples = [p for name in sampled for p in client.get_metric_history(run_id, name)]
    n_samples = max((p.step + 1 for p in samples), default=0)
    return Held(frozenset(run.data.params), frozenset(images), n_samples)


def stride(n_points: int) -> int:
    """Distance of the points that are kept of so many: a power of two."""
    every = 1
    while n_points > every * MAX_POINTS:
        every *= 2
    return every


class Curves:
    """Chooses which points of the curves of a run are sent.

    While a training goes on, as many as its expected length allows, if that is known;
    at its end, when its length is known, those that are missing. Always sent are the
    first point of a curve and its last two: those of the last epoch, and of the best
    weights after it. The choice depends on the length alone, not on interruptions.
    """

    def __init__(self, expected_points: int) -> None:
        self._every = stride(expected_points)
        self._n_points = 0
        self._last: dict[str, int] = {}
        self._skipped: list[Points] = []

    def note(self, metrics: Mapping[str, float], step: int) -> None:
        """Count points that are sent in any case."""
        if step > 1:
            self._n_points = max(self._n_points, step)
            self._last.update(dict.fromkeys(metrics, step))

    def add(self, metrics: Mapping[str, float], step: int, time_ms: int) -> bool:
        """Take points of one step; return whether they are to be sent at once."""
        self.note(metrics, step)
        if step <= 1 or step % max(self._every, stride(step)) == 0:
            return True
        self._skipped.append((step, time_ms, dict(metrics)))
        if len(self._skipped) > 4 * MAX_POINTS:
            # However the training ends, the others will not be sent.
            self._skipped = self._kept(stride(self._n_points - 2))
        return False

    def rest(self) -> list[Points]:
        """Give the points that are missing at the end."""
        return self._kept(stride(self._n_points - 1))

    def _kept(self, every: int) -> list[Points]:
        kept = []
        for step, time_ms, values in self._skipped:
            if step % every:
                last = self._last
                values = {n: v for n, v in values.items() if step >= last[n] - 1}
            if values:
                kept.append((step, time_ms, values))
        return kept


class Run:
    """A run, parent or child; what is logged goes to an outbox at once.

    No call waits for the store, and none fails.

    Parameters
    ----------
    directory : Path
        Local files of the run, which stay when the process ends; its name is the ID of
        the run, and its parent holds the directories of every run.
    outbox : Outbox, optional
        Of the training. Without one, no store hears of the run, and artifacts are kept
        as local files.
    experiment_id : str
        In the store.
    expected_points : int
        Points of each curve, if known.
    held : Held, optional
        What the store has already, of a run that goes on.
    """

    def __init__(
        self,
        directory: Path,
        outbox: Outbox | None = None,
        experiment_id: str = "0",
        expected_points: int = 0,
        held: Held | None = None,
    ) -> None:
        self._outbox = outbox
        self._curves = Curves(expected_points)
        self.held = held or Held()
        self._is_resumed = held is not None
        self.run_id = directory.name
        self.experiment_id = experiment_id
        self.directory = directory
        directory.mkdir(parents=True, exist_ok=True)

    def _add(self, kind: str, **values: Any) -> None:
        if self._outbox is not None:
            self._outbox.add(self.run_id, kind, is_doubtful=self._is_resumed, **values)

    def log_params(self, params: Mapping[str, object]) -> None:
        """Set parameters, once each; longer values are cut as MLflow would."""
        values = {
            key: hide_passwords(str(value))[:MAX_VALUE]
            for key, value in params.items()
            if key not in self.held.params
        }
        if values:
            self._add("params", values=values)

    def set_tags(self, tags: Mapping[str, str]) -> None:
        """Set or change tags; addresses in them lose their passwords."""
        values = {key: hide_passwords(value) for key, value in tags.items()}
        self._add("tags", values=values)

    def log_metrics(
        self, metrics: Mapping[str, float], step: int, time_ms: int | None = None
    ) -> None:
        """Add a point to each curve that has none at this step; thin long curves."""
        when = now_ms() if time_ms is None else time_ms
        if self._curves.add(metrics, step, when):
            self._note(metrics, step, when)

    def _note(
        self,
        metrics: Mapping[str, float],
        step: int,
        time_ms: int,
        kind: str = "metrics",
        **of: str,
    ) -> None:
        new = {name: float(value) for name, value in metrics.items()}
        self._add(kind, metrics=new, step=step, time_ms=time_ms, **of)

    def log_system_metrics(self, metrics: Mapping[str, float], step: int) -> None:
        """Log what the machine does, as it is: such curves have no epochs."""
        self._note(metrics, step, now_ms())

    def log_model_metrics(
        self, metrics: Mapping[str, float], step: int, name: str, digest: str
    ) -> None:
        """Log metrics of the networks on a dataset, to the run and to its model."""
        self._curves.note(metrics, step)
        of = {"name": name, "digest": digest[:MAX_DIGEST]}
        self._note(metrics, step, now_ms(), "model_metrics", **of)

    def log_file(
        self, path: Path, folder: str = "", *, is_spooled: bool = False
    ) -> None:
        """Keep a file as an artifact, as it is when it is delivered.

        One that `is_spooled` is removed then.
        """
        if self._outbox is None:
            return
        runs, given = self.directory.parent, path
        if not given.is_relative_to(runs):
            # It may go; the files of runs stay.
            path = self.directory / given.name
            if given.exists():
                shutil.copyfile(given, path)
        relative = path.relative_to(runs).as_posix()
        self._add("file", path=relative, folder=folder, is_spooled=is_spooled)

    def log_text(self, text: str, path: str) -> None:
        """Keep text as an artifact."""
        self.log_bytes(text.encode(), path)

    def log_bytes(self, data: bytes, path: str) -> None:
        """Keep bytes as an artifact, and among the local files of the run."""
        place = self.directory / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(data)
        folder = str(Path(path).parent)
        self.log_file(place, "" if folder == "." else folder)

    def log_image(self, image: npt.NDArray[np.uint8], key: str, step: int) -> None:
        """Add an image, shape (height, width, 3), to the live images of a run."""
        if self._outbox is None or (key, step) in self.held.images:
            return
        from PIL import Image

        # The form in which MLflow names them itself: its charts step through these.
        when = now_ms()
        name = f"{key}+step+{step}+timestamp+{when}+{uuid.uuid4()}"
        folder = self.directory / LIVE_IMAGES
        folder.mkdir(parents=True, exist_ok=True)
        full, small = folder / f"{name}.png", folder / f"{name}+compressed.webp"
        picture = Image.fromarray(image)
        picture.save(full)
        picture.thumbnail(THUMBNAIL)
        picture.save(small)
        for file in (full, small):
            self.log_file(file, "images", is_spooled=True)
        self.set_tags({"mlflow.loggedImages": "True"})

    def log_dataset(
        self, name: str, digest: str, source: str, context: str, n_rows: int
    ) -> None:
        """Name a table as input of the run, under its own digest."""
        of = {"name": name, "digest": digest[:MAX_DIGEST], "context": context}
        self._add("dataset", **of, source=source[:MAX_VALUE], n_rows=n_rows)

    def log_model(
        self, weights: Path, example: Tracks, params: Mapping[str, object] | None = None
    ) -> None:
        """Keep networks as an MLflow model; it is written here and now, sent later."""
        if self._outbox is None:
            return
        folder = self.directory / MODEL_FOLDER
        try:
            save_model(folder, weights, example, self.run_id)
        except TrackingError as err:
            log.warning("tracking: %s", err)
            return
        values = {k: hide_passwords(str(v)) for k, v in (params or {}).items()}
        self._add("model", values=values)
        place = f"{self.run_id}/{MODEL_FOLDER}"
        self._add("folder", path=place, folder=MODEL_FOLDER, is_model=True)

    def finish(
        self, outcome: Outcome, reason: str = "", *, resumable: bool = False
    ) -> None:
        """End the run, once all that was logged before has been delivered."""
        if not resumable:
            for step, when, values in self._curves.rest():
                self._note(values, step, when)
            self._curves = Curves(0)
        # MLflow overwrites the status of a parent under `mlflow run`.
        said = {
            "nnt.outcome": outcome,
            "nnt.reason": reason[:MAX_VALUE],
            "nnt.resumable": "true" if resumable else "",
        }
        self.set_tags({name: value for name, value in said.items() if value})
        # A store knows no such status; one that ended in order has not been killed.
        status = "FINISHED" if outcome == "PRUNED" else outcome
        self._add("end", status=status, time_ms=now_ms())
