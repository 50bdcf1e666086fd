"""Runs in MLflow, by its client: the fluent interface is not made for threads."""

from __future__ import annotations

import getpass
import logging
import math
import os
import re
import socket
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from nnt.errors import TrackingError, shorten
from nnt.tracking.held import Held, held_by
from nnt.tracking.model import save_model
from nnt.tracking.process import is_dead, lock_run, process_tags
from nnt.tracking.protocol import Outcome, Run
from nnt.tracking.references import StoredRun, running_on
from nnt.tracking.store import base_directory, connect, default_uri, experiment_id
from nnt.tracking.writer import Writer
from nnt.tracks import Tracks

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Metric

__all__ = ["MlflowRun", "MlflowTracker"]

log = logging.getLogger(__name__)

MAX_POINTS = 1000
"""Points of a curve that are sent; ``metrics.csv`` holds every epoch."""
MAX_VALUE = 6000
MAX_PARAMS = 100
MAX_DIGEST = 36
MODEL_FOLDER = "model"
NOTHING = Held()
ENDING_TAGS = ("nnt.outcome", "nnt.reason", "nnt.resumable")
SAFE_ID = re.compile(r"[\w-]{1,64}")


class MlflowRun:
    """A run; every call hands over to the writer and returns at once."""

    def __init__(
        self,
        client: MlflowClient,
        writer: Writer,
        run_id: str,
        experiment_id: str,
        directory: Path,
        expected_points: int = 0,
        held: Held = NOTHING,
    ) -> None:
        self._client = client
        self._writer = writer
        self._every = max(1, math.ceil(expected_points / MAX_POINTS))
        self._skipped: dict[str, Metric] = {}
        self._held = held
        self.run_id = run_id
        self.experiment_id = experiment_id
        self.directory = directory
        directory.mkdir(parents=True, exist_ok=True)

    def _call(self, what: str, action: Callable[[], object]) -> None:
        self._writer.call(f"{what} of run {self.run_id}", action)

    def log_params(self, params: Mapping[str, object]) -> None:
        """Set parameters, once each; longer values are cut as MLflow would."""
        from mlflow.entities import Param

        values = [
            Param(k, str(v)[:MAX_VALUE])
            for k, v in params.items()
            if k not in self._held.params
        ]
        for start in range(0, len(values), MAX_PARAMS):
            part = values[start : start + MAX_PARAMS]
            send = partial(self._client.log_batch, self.run_id, params=part)
            self._call("parameters", send)

    def set_tags(self, tags: Mapping[str, str]) -> None:
        """Set or change tags."""
        from mlflow.entities import RunTag

        values = [RunTag(k, v) for k, v in tags.items()]
        self._call("tags", lambda: self._client.log_batch(self.run_id, tags=values))

    def log_metrics(
        self, metrics: Mapping[str, float], step: int, time_ms: int | None = None
    ) -> None:
        """Add a point to each curve; long curves are thinned evenly."""
        from mlflow.entities import Metric

        when = int(time.time() * 1000) if time_ms is None else time_ms
        points = {k: Metric(k, v, when, step) for k, v in metrics.items()}
        # The last point of each curve is sent at the end, whatever its step.
        self._skipped.update(points)
        if step == 1 or step % self._every == 0:
            self._send({k: self._skipped.pop(k) for k in points})

    def _send(self, points: Mapping[str, Metric]) -> None:
        held = self._held.points
        new = [p for p in points.values() if (p.key, p.step) not in held]
        self._writer.metrics(self.run_id, new)

    def log_file(self, path: Path, folder: str = "") -> None:
        """Keep a file as an artifact."""
        self._call(
            path.name,
            lambda: self._client.log_artifact(self.run_id, str(path), folder or None),
        )

    def log_text(self, text: str, path: str) -> None:
        """Keep text as an artifact."""
        self.log_bytes(text.encode(), path)

    def log_bytes(self, data: bytes, path: str) -> None:
        """Keep bytes as an artifact, and beside the local files of the run."""
        place = self.directory / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(data)
        folder = str(Path(path).parent)
        self.log_file(place, "" if folder == "." else folder)

    def log_image(self, image: npt.NDArray[np.uint8], key: str, step: int) -> None:
        """Add an image, shape (height, width, 3), to the live images of a run."""
        if (key, step) in self._held.images:
            return
        self._call(
            f"image {key}",
            lambda: self._client.log_image(self.run_id, image, key=key, step=step),
        )

    def log_dataset(
        self, name: str, digest: str, source: str, context: str, n_rows: int
    ) -> None:
        """Name a table as input of the run, under its own digest."""
        from mlflow.entities import Dataset, DatasetInput, InputTag

        dataset = Dataset(
            name=name,
            digest=digest[:MAX_DIGEST],
            source_type="local",
            source=source[:MAX_VALUE],
            profile=f'{{"num_rows": {n_rows}}}',
        )
        given = DatasetInput(dataset, [InputTag("mlflow.data.context", context)])
        self._call(
            "data", lambda: self._client.log_inputs(self.run_id, datasets=[given])
        )

    def log_model(self, weights: Path, example: Tracks, out_size: int) -> None:
        """Keep networks as an MLflow model; it is written here and now, sent later."""
        folder = self.directory / MODEL_FOLDER
        try:
            save_model(folder, weights, example, out_size, self.run_id)
        except TrackingError as err:
            log.warning("tracking: %s", err)
            return
        self._call(
            "model",
            lambda: self._client.log_artifacts(self.run_id, str(folder), MODEL_FOLDER),
        )

    def finish(
        self, outcome: Outcome, reason: str = "", *, resumable: bool = False
    ) -> None:
        """End the run, once all that was logged before has been delivered."""
        if not resumable:
            # The last point of a thinned curve, if it is really the last.
            self._send(self._skipped)
        self._skipped = {}
        self._writer.flush(self.run_id)
        # MLflow overwrites the status of a parent under `mlflow run`.
        because = {"nnt.reason": reason[:MAX_VALUE]} if reason else {}
        again = {"nnt.resumable": "true"} if resumable else {}
        self.set_tags({"nnt.outcome": outcome, **because, **again})
        self._call(
            "end", lambda: self._client.set_terminated(self.run_id, status=outcome)
        )


class MlflowTracker:
    """Runs in an MLflow store.

    Parameters
    ----------
    uri : str, optional
        Default: ``MLFLOW_TRACKING_URI``, else ``mlflow.db`` in the working directory.
    debug : bool
        Keep everything under the temporary directory instead.

    Raises
    ------
    TrackingError
        The store does not answer.
    """

    def __init__(self, uri: str | None = None, *, debug: bool = False) -> None:
        self._debug = debug
        self.base = base_directory(debug=debug)
        self.uri = uri or default_uri(debug=debug)
        self._client = connect(self.uri, self.base)
        self._writer = Writer(self._client)
        self._locks: list[IO[str]] = []

    def start_run(self, name: str, *, description: str, tags: Mapping[str, str]) -> Run:
        """Open a parent run, or take over the one that `mlflow run` has made."""
        given = os.environ.pop("MLFLOW_RUN_ID", None)
        # The variables speak of the store of MLflow, never of one for debugging.
        if given is not None and not self._debug:
            return self._adopt(given, name, description, tags)
        experiment = None if self._debug else os.environ.get("MLFLOW_EXPERIMENT_ID")
        if experiment is None:
            experiment = experiment_id(self._client, self.uri, self.base)
        own = self._tags(description, {**tags, **self._own_tags()})
        return self._lock(self._create(experiment, name, own, 0))

    def _adopt(
        self, run_id: str, name: str, description: str, tags: Mapping[str, str]
    ) -> Run:
        from mlflow.exceptions import MlflowException

        try:
            found = self._client.get_run(run_id)
            self._client.update_run(run_id, name=name)
        except MlflowException as err:
            raise TrackingError(
                f"the run {run_id} of MLFLOW_RUN_ID is not in {self.uri}; unset the "
                "variable, or set MLFLOW_TRACKING_URI to the store of that run"
            ) from err
        run = self._run(run_id, str(found.info.experiment_id), 0)
        run.set_tags({"mlflow.note.content": description, **tags, **self._own_tags()})
        return self._lock(run)

    def _own_tags(self) -> dict[str, str]:
        return {**process_tags(), "nnt.directory": str(self._runs)}

    @property
    def _runs(self) -> Path:
        return self.base / ".nnt" / "runs"

    def _lock(self, run: MlflowRun) -> MlflowRun:
        self._locks.append(lock_run(run.directory, run.run_id))
        return run

    def resume_run(self, run_id: str, expected_points: int = 0) -> Run:
        """Go on in a run; what it holds is not sent again.

        Raises
        ------
        TrackingError
            It is not there, or another process works on it.
        """
        from mlflow.exceptions import MlflowException

        try:
            found = self._client.get_run(run_id)
            tags = found.data.tags
            run = self._run(
                run_id,
                str(found.info.experiment_id),
                expected_points,
                directory=self._directory_of(run_id, tags),
                held=held_by(self._client, found),
            )
            if "mlflow.parentRunId" not in tags:
                self._lock(run)
                self._leave_given_run(run_id)
            self._client.update_run(run_id, status="RUNNING")
            for name in ENDING_TAGS:
                if name in tags:
                    self._client.delete_tag(run_id, name)
        except MlflowException as err:
            raise TrackingError(f"run {run_id} in {self.uri}: {err}") from err
        if "mlflow.parentRunId" not in tags:
            run.set_tags(process_tags())
        return run

    def _directory_of(self, run_id: str, tags: Mapping[str, str]) -> Path:
        """Find the local files of a run, wherever it was begun."""
        noted = Path(tags.get("nnt.directory", "")) / run_id
        # The tag comes from a server: it may name what is there, not make it.
        if noted.is_absolute() and (noted / "config.yaml").is_file():
            return noted
        return self._runs / run_id

    def _leave_given_run(self, run_id: str) -> None:
        """Let the run that `mlflow run` has made point to the one that goes on."""
        given = os.environ.pop("MLFLOW_RUN_ID", None)
        if given is None or self._debug or given == run_id:
            return
        self._client.update_run(given, name=f"resumes {run_id[:8]}")
        self._client.set_tag(given, "nnt.resumes", run_id)

    def start_child(
        self, parent: Run, name: str, tags: Mapping[str, str], expected_points: int = 0
    ) -> Run:
        """Open a run nested under a parent."""
        nested = {
            "mlflow.parentRunId": parent.run_id,
            "nnt.directory": str(self._runs),
            **tags,
        }
        return self._create(
            parent.experiment_id, name, self._tags("", nested), expected_points
        )

    def reopen(self, run_id: str, experiment_id: str) -> Run:
        """Add to a run that has ended; unless it is finished anew, its end stays."""
        return self._run(run_id, experiment_id, 0)

    def _tags(self, description: str, tags: Mapping[str, str]) -> dict[str, str]:
        note = {"mlflow.note.content": description} if description else {}
        source = {"mlflow.source.name": "nnt", "mlflow.source.type": "LOCAL"}
        return {"mlflow.user": getpass.getuser(), **source, **note, **tags}

    def _create(
        self, experiment: str, name: str, tags: dict[str, str], expected_points: int
    ) -> MlflowRun:
        from mlflow.exceptions import MlflowException

        try:
            created = self._client.create_run(experiment, tags=tags, run_name=name)
        except MlflowException as err:
            raise TrackingError(
                f"{self.uri} refuses a new run: {str(err).splitlines()[0]}"
            ) from err
        return self._run(str(created.info.run_id), experiment, expected_points)

    def _run(
        self,
        run_id: str,
        experiment: str,
        expected_points: int,
        directory: Path | None = None,
        held: Held = NOTHING,
    ) -> MlflowRun:
        if not SAFE_ID.fullmatch(run_id):
            raise TrackingError(f"{self.uri} has given a run the ID {shorten(run_id)}")
        return MlflowRun(
            self._client,
            self._writer,
            run_id,
            experiment,
            directory or self._runs / run_id,
            expected_points,
            held,
        )

    def interrupted(self) -> list[StoredRun]:
        """Trainings in the experiment whose process on this host has died."""
        if self._debug:
            return []
        experiment = os.environ.get("MLFLOW_EXPERIMENT_ID") or experiment_id(
            self._client, self.uri, self.base
        )
        running = running_on(socket.gethostname(), self.uri, self._client, experiment)
        return [run for run in running if is_dead(run.tags)]

    def close(self) -> int:
        """Deliver what is left; return how many calls could not be delivered."""
        self._writer.close()
        for lock in self._locks:
            lock.close()
        return self._writer.lost
