"""What a user may write for a run, and what can be read from it."""

from __future__ import annotations

import logging
import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from nnt.errors import TrackingError, shorten
from nnt.files import expand_path
from nnt.networks import ExpertWeights, read_weights
from nnt.networks.weights import MAX_BYTES
from nnt.tracking.artifacts import artifacts_of, fetch
from nnt.tracking.delivery import find_waiting
from nnt.tracking.local_runs import is_dead, is_offline, read_ids, runs_directory
from nnt.tracking.store import asked, connect_to_read, no_answer
from nnt.tracking.store_uri import (
    base_directory,
    default_uri,
    hide_passwords,
    split_store,
)

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import FileInfo
    from mlflow.entities import Run as MlflowEntity

log = logging.getLogger(__name__)

RUN_ID = re.compile(r"[0-9a-f]{6,32}")
"""Whole, or its beginning."""
FULL_ID = 32
RUN_URI = re.compile(rf"runs:/(?P<id>{RUN_ID.pattern})(?:/(?P<path>[\w./-]+))?")
MODEL_URI = re.compile(
    r"models:/(?P<name>[\w.-]+)(?:@(?P<alias>[\w.-]+)|/(?P<version>\d+))?"
)
MAX_TEXT_BYTES = 64 << 20
MAX_FILE_BYTES = 1 << 30
MAX_CHILDREN = 1000
MAX_RUNNING = 20
MAX_SHOWN = 10
MAX_NAME = 500
NOT_THERE = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")
"""What a store answers about a run that it does not hold."""
EXPERTS = {str(k): k for k in range(-1, 5)}
"""By their tag."""
WEIGHTS_FILE = "weights.json"
EVERY_EPOCH = "train/loss"
"""A metric that each epoch logs, so that a run without it has seen no epoch."""
START = "cfg.load_pre_trained_weights"
UNSET = "null"
"""How a parameter without a value is logged."""
UNKNOWN_RUN = "unknown"
"""Stands for the run of weights that came from a file."""


def is_of_expert(tags: Mapping[str, str]) -> bool:
    """Whether a run is part of a training, by its tags.

    A training may itself be nested, below the run of a sweep.
    """
    kind = tags.get("nnt.kind", "expert")
    return "mlflow.parentRunId" in tags and kind not in ("training", "sweep")


@dataclass(frozen=True, slots=True)
class StoredRun:
    """A run in the tracking store.

    What asks the store raises `TrackingError` if it does not answer, if there is no
    such artifact, or if that is too large.
    """

    run_id: str
    experiment_id: str
    name: str
    status: str
    uri: str
    tags: Mapping[str, str]
    params: Mapping[str, str]
    metrics: Mapping[str, float]
    _client: MlflowClient
    path: str = ""
    """Artifact that a run URI named; empty if it named none."""
    is_deleted: bool = False
    """Whether it can be restored, and until then only be read."""
    start_ms: int = 0
    """When it was opened, in milliseconds since 1970."""

    @property
    def started(self) -> datetime:
        """When it was opened, in the time of this place."""
        return datetime.fromtimestamp(self.start_ms / 1000, UTC).astimezone()

    @property
    def is_interrupted(self) -> bool:
        """Whether its process ran on this host and is gone; it can be resumed."""
        return self._is_left and not self.awaits_upload

    @property
    def awaits_upload(self) -> bool:
        """Whether its training is done, and only the store has not heard of that."""
        try:
            return self._is_left and find_waiting(self.directory).is_finished
        except TrackingError:
            return False

    @property
    def _is_left(self) -> bool:
        return self.status == "RUNNING" and is_dead(self.tags)

    @property
    def shown_uri(self) -> str:
        """Address of the store, without the password that it may hold."""
        return hide_passwords(self.uri)

    @property
    def directory(self) -> Path:
        """Its local files, as far as the run says."""
        return Path(self.tags.get("nnt.directory", "")) / self.run_id

    @property
    def project(self) -> Path | None:
        """Directory in which the training ran, as far as the run says."""
        here = self.directory
        return here.parent.parent.parent if here.is_absolute() else None

    def children(self) -> list[StoredRun]:
        """Find the runs nested under this one, by name."""
        nested = f"tags.`mlflow.parentRunId` = '{self.run_id}'"
        with asked(f"{self.shown_uri} does not list runs"):
            found = _search(self._client, nested, MAX_CHILDREN, [self.experiment_id])
        return sorted(found, key=lambda run: run.name)

    def experts(self) -> dict[int, StoredRun]:
        """Find the runs of the experts of a training; an expert's run is its own."""
        nested = [self] if self.tags.get("expert") in EXPERTS else self.children()
        tagged = {run.tags.get("expert", ""): run for run in nested}
        return {EXPERTS[tag]: run for tag, run in tagged.items() if tag in EXPERTS}

    def history(self, name: str) -> list[tuple[int, int, float]]:
        """Read a metric: step, time in milliseconds since 1970, value; by step."""
        with asked(f"{self.shown_uri} does not list {name}"):
            points = self._client.get_metric_history(self.run_id, name)
        return sorted((p.step, p.timestamp, p.value) for p in points)

    def artifacts(self, folder: str, max_depth: int = 8) -> list[str]:
        """Name all artifacts below a folder, none if there is no such folder."""
        if max_depth < 0:
            raise TrackingError(
                f"{self.shown_uri} lists an endless chain of nested folders"
            )
        paths = []
        for item in self._list(folder):
            path = str(item.path)
            paths += self.artifacts(path, max_depth - 1) if item.is_dir else [path]
        return paths

    def holds(self, path: str) -> bool:
        """Tell whether there is an artifact of that name."""
        folder = str(PurePosixPath(path).parent)
        listed = self._list(None if folder == "." else folder)
        return path in {str(item.path) for item in listed}

    def _list(self, folder: str | None) -> list[FileInfo]:
        with asked(f"{self.shown_uri} does not list artifacts"):
            found = artifacts_of(self._client, self.run_id)
            return list(found.list_artifacts(folder))

    def read_text(self, path: str) -> str:
        """Read an artifact of at most 64 MB."""
        with tempfile.TemporaryDirectory() as into:
            place = self.download(path, Path(into), MAX_TEXT_BYTES)
            return place.read_text(encoding="utf-8", errors="replace")

    def download(self, path: str, into: Path, max_bytes: int = MAX_FILE_BYTES) -> Path:
        """Fetch an artifact of at most `max_bytes` into a directory, nowhere else."""
        return fetch(self._client, self.run_id, path, into, max_bytes)


def open_run(text: str, uri: str | None = None) -> StoredRun:
    """Find the run that a user means.

    Parameters
    ----------
    text : str
        ``ID``, ``runs:/ID[/path]`` or ``models:/name[@alias]``; of another store,
        ``STORE#`` and one of these, or the address of its page in the MLflow UI.
        Of an ID, the first 6 or more digits are enough where they fit one run only.
    uri : str, optional
        Tracking store, where `text` names none; default as for training.

    Raises
    ------
    TrackingError
        It is not of these forms, or there is no such run.
    """
    store, name = split_store(text.strip())
    uri = store or uri or default_uri()
    found, model = RUN_URI.fullmatch(name), MODEL_URI.fullmatch(name)
    is_run = RUN_ID.fullmatch(name) or found or model
    if not is_run or ".." in name or len(name) > MAX_NAME:
        raise TrackingError(
            f"{shorten(hide_passwords(text))} is not a run: expected an ID of 32 "
            "hexadecimal digits or its first 6 or more, runs:/ID/weights.json or "
            "models:/name@alias; STORE# before it names another store"
        )
    run_id = "" if model else (found["id"] if found else name)
    if store is None and run_id:
        run_id = _id_in_store(run_id)

    def not_found(err: Exception) -> TrackingError:
        if getattr(err, "error_code", None) not in NOT_THERE:
            return no_answer(uri, err)
        what = "version or alias of a registered model" if model else "run"
        return TrackingError(
            f"{shorten(hide_passwords(name))[1:-1]}: there is no such {what} in "
            f"{hide_passwords(uri)}; copy the ID from the MLflow UI, set "
            "MLFLOW_TRACKING_URI to the store that holds it, or write STORE#RUN"
        )

    client = connect_to_read(uri)
    with asked(not_found):
        if model:
            run_id = _run_of_model(client, model)
        elif len(run_id) < FULL_ID:
            run_id = _whole_id(client, uri, run_id)
        stored = _stored(client.get_run(run_id), client)
    return replace(stored, path=found["path"] or "") if found else stored


def _whole_id(client: MlflowClient, uri: str, beginning: str) -> str:
    """Find the one run whose ID begins like this."""
    chosen = f"attributes.run_id LIKE '{beginning}%'"
    # Not every store compares in the way of LIKE; the digits are checked again.
    found = _search(client, chosen, MAX_SHOWN)
    runs = [run for run in found if run.run_id.startswith(beginning)]
    if not runs:
        raise TrackingError(
            f"{beginning}: no run in {hide_passwords(uri)} has an ID that begins with "
            "this; copy the ID from the MLflow UI, or set MLFLOW_TRACKING_URI to the "
            "store that holds the run"
        )
    if len(runs) > 1:
        listed = "".join(f"\n  {run.run_id} ({run.name})" for run in runs)
        raise TrackingError(
            f"{beginning} matches the IDs of several runs; give more digits:{listed}"
        )
    return runs[0].run_id


def _id_in_store(run_id: str) -> str:
    """Turn the ID of a training that was started offline into that of its store."""
    runs = runs_directory(base_directory())
    if len(run_id) < FULL_ID:
        # A run in the store may begin alike, so that only offline runs are looked at.
        local = [d for d in sorted(runs.glob(f"{run_id}*")) if not d.is_symlink()]
        offline = [d for d in local if read_ids(d) or is_offline(d)]
        if len(offline) != 1:
            return run_id
        run_id = offline[0].name
    directory = runs / run_id
    known = read_ids(directory)
    if run_id in known:
        return known[run_id]
    if is_offline(directory):
        raise TrackingError(
            f"run {run_id} was trained offline and is not in a store yet; upload it "
            f"with: nnt sync {run_id}"
        )
    return run_id


def running_on(host: str, client: MlflowClient, experiment_id: str) -> list[StoredRun]:
    """Find the trainings that were begun on a host and have not reported their end."""
    from mlflow.exceptions import MlflowException

    quoted = host.replace("'", "")
    chosen = f"attributes.status = 'RUNNING' and tags.`nnt.host` = '{quoted}'"
    try:
        return _search(client, chosen, MAX_RUNNING, [experiment_id])
    except MlflowException:
        return []


def list_trainings(limit: int, *, debug: bool = False) -> list[StoredRun]:
    """List the newest trainings, or those without ``--production`` if `debug`.

    Nothing is made and nothing is locked. Without a store this raises `TrackingError`.
    """
    uri = default_uri(debug=debug)
    client = connect_to_read(uri)
    with asked(lambda err: no_answer(uri, err)):
        return _search(client, "tags.`nnt.kind` = 'training'", limit)


def _search(
    client: MlflowClient, chosen: str, limit: int, experiments: Sequence[str] = ()
) -> list[StoredRun]:
    """Find runs, the newest first; default: of all experiments."""
    among = experiments or [e.experiment_id for e in client.search_experiments()]
    newest = ["attributes.start_time DESC"]
    found = client.search_runs(list(among), chosen, max_results=limit, order_by=newest)
    return [_stored(run, client) for run in found]


def _stored(run: MlflowEntity, client: MlflowClient) -> StoredRun:
    return StoredRun(
        run_id=run.info.run_id,
        experiment_id=run.info.experiment_id,
        name=run.info.run_name,
        status=run.info.status,
        uri=client.tracking_uri,
        tags=run.data.tags,
        params=run.data.params,
        metrics=run.data.metrics,
        is_deleted=run.info.lifecycle_stage == "deleted",
        start_ms=run.info.start_time or 0,
        _client=client,
    )


def _run_of_model(client: MlflowClient, model: re.Match[str]) -> str:
    name = model["name"]
    if model["alias"]:
        version = client.get_model_version_by_alias(name, model["alias"])
    elif model["version"]:
        version = client.get_model_version(name, model["version"])
    else:
        versions = client.search_model_versions(f"name='{name}'")
        if not versions:
            raise TrackingError(f"models:/{name}: there is no such registered model")
        version = max(versions, key=lambda v: int(v.version))
    return str(version.run_id)


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
        and child.params.get(START, run.params.get(START, UNSET)) == UNSET
    )
