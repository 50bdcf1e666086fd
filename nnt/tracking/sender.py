"""Entries of an outbox, turned into calls of MLflow; each can be repeated."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from nnt.errors import TrackingError, shorten
from nnt.tracking.artifacts import artifacts_of
from nnt.tracking.experiments import find_experiment
from nnt.tracking.local_runs import keep_ids, project_of, read_ids
from nnt.tracking.model import log_model_files, make_model, model_of
from nnt.tracking.outbox import Entry, Points
from nnt.tracking.store import reason_of

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

NOTE = "mlflow.note.content"
LOCAL_ID = "nnt.offline_id"

LIMITS = {"metrics": 996, "params": 100, "tags": 100}
"""How many a server takes in one call."""
REFUSALS = ("INVALID_PARAMETER_VALUE", "BAD_REQUEST", "RESOURCE_ALREADY_EXISTS")
"""Answers of MLflow that another attempt does not change."""
TOO_LARGE = re.compile(r"(?i)code 413|413 client|(entity|payload|content) too large")
"""How a proxy refuses a call for its size."""


def grouped(entries: Iterable[Entry]) -> Iterator[list[Entry]]:
    """Group entries to calls: metrics of a run together, all else alone.

    The order of the entries of a run stays, but for its files: metrics do not wait
    for them.
    """
    batches: dict[str, list[Entry]] = {}
    for entry in entries:
        run_id = entry.run_id
        if entry.kind == "metrics":
            batches.setdefault(run_id, []).append(entry)
            continue
        if not is_file(entry) and run_id in batches:
            yield batches.pop(run_id)
        yield [entry]
    yield from batches.values()


def is_file(entry: Entry) -> bool:
    """Whether it goes to the store of artifacts."""
    return entry.kind in ("file", "folder")


def is_refusal(err: BaseException) -> bool:
    """Whether an entry was refused for what it is, and not for the moment."""
    return isinstance(err, TrackingError) or getattr(err, "error_code", "") in REFUSALS


class Sender:
    """Does what entries say.

    Parameters
    ----------
    client : MlflowClient
        Of the store.
    directory : Path
        That of every run lies in it.
    parent : Path, optional
        Directory of the parent run of a training whose runs no store may know yet;
        they are made, each once.
    experiment : str, optional
        Name of the experiment that these are for; default as for training.
    """

    def __init__(
        self,
        client: MlflowClient,
        directory: Path,
        parent: Path | None = None,
        experiment: str | None = None,
    ) -> None:
        self._client = client
        self._directory = directory
        self._parent = parent
        self._experiment = experiment
        self._max_items = max(LIMITS.values())
        self.ids = {} if parent is None else read_ids(parent)
        self._artifacts: dict[str, Any] = {}
        self._models: dict[str, str] = {}
        self._held: dict[tuple[str, str], set[tuple[int, int]]] = {}

    def forget(self) -> None:
        """Ask the store anew what it holds."""
        self._held.clear()
        self._artifacts.clear()

    def send(self, entries: list[Entry]) -> None:
        """Send entries that `grouped` has put together.

        Whatever a store may raise comes through, and they may have been done in part.
        """
        first = entries[0]
        run_id = self.ids.get(first.run_id, first.run_id)
        if first.kind == "metrics":
            self._metrics(run_id, entries)
        else:
            # Every other kind in `outbox.KINDS` has a method of its name.
            getattr(self, f"_{first.kind}")(run_id, first)

    def _metrics(self, run_id: str, entries: list[Entry]) -> None:
        points = [point for e in entries for point in self._missing(run_id, e)]
        try:
            self._log_points(run_id, points)
        except Exception as err:
            if not is_refusal(err):
                raise
            self._log_by_curve(run_id, points)

    def _log_by_curve(self, run_id: str, points: list[Points]) -> None:
        """Send each curve for itself: one that is refused costs no other."""
        refusal: Exception | None = None
        for name in sorted({name for _, _, values in points for name in values}):
            curve = [(step, t, {name: v[name]}) for step, t, v in points if name in v]
            try:
                self._log_points(run_id, curve)
            except Exception as err:
                if not is_refusal(err):
                    raise
                refusal = err
        if refusal is not None:
            raise refusal

    def _log_points(self, run_id: str, points: list[Points], **of: str) -> None:
        """Send points, perhaps those `of` a model and a dataset."""
        from mlflow.entities import Metric

        metrics = [
            Metric(name, value, time_ms, step, **of)
            for step, time_ms, values in points
            for name, value in values.items()
        ]
        self._log(run_id, "metrics", metrics)

    def _log(self, run_id: str, kind: str, items: Sequence[Any]) -> None:
        """Send items in batches, smaller ones where a proxy does not let them pass."""
        while items:
            part = items[: min(self._max_items, LIMITS[kind])]
            try:
                # Else MLFLOW_ENABLE_ASYNC_LOGGING lets it return before it is done.
                self._client.log_batch(run_id, **{kind: part}, synchronous=True)
            except Exception as err:
                if not TOO_LARGE.search(str(err)):
                    raise
                if len(part) == 1:
                    raise TrackingError(f"too large: {reason_of(err)}") from err
                self._max_items = len(part) // 2
            else:
                items = items[len(part) :]

    def _missing(self, run_id: str, entry: Entry) -> list[Points]:
        """Give the points that the store lacks: not every one drops what it has."""
        values, is_doubtful, entry.is_doubtful = entry.values, entry.is_doubtful, True
        new, place = values["metrics"], (values["step"], values["time_ms"])
        if is_doubtful:
            held = {name for name in new if place in self._times(run_id, name)}
            new = {name: value for name, value in new.items() if name not in held}
        return [(*place, new)] if new else []

    def _times(self, run_id: str, name: str) -> set[tuple[int, int]]:
        """Steps and times that a curve holds."""
        place = run_id, name
        if place not in self._held:
            history = self._client.get_metric_history(run_id, name)
            self._held[place] = {(int(p.step), int(p.timestamp)) for p in history}
        return self._held[place]

    def _create(self, run_id: str, entry: Entry) -> None:
        """Make a run, unless the store has it."""
        if entry.run_id in self.ids:
            return
        if self._parent is None:
            raise TrackingError(f"run {run_id} exists in its store already")
        base, client = project_of(self._parent), self._client
        experiment = find_experiment(client, base, self._experiment)
        known = f"tags.`{LOCAL_ID}` = '{entry.run_id}'"
        found = client.search_runs([experiment], known, max_results=1)
        made = found[0] if found else self._made(experiment, entry)
        self.ids[entry.run_id] = str(made.info.run_id)
        keep_ids(self._parent, entry.run_id, self.ids, client.tracking_uri)

    def _made(self, experiment: str, entry: Entry) -> Run:
        values = entry.values
        tags = {**values["values"], LOCAL_ID: entry.run_id}
        if values["parent"]:
            tags["mlflow.parentRunId"] = self.ids[values["parent"]]
        return self._client.create_run(
            experiment, values["time_ms"], tags, values["name"]
        )

    def _params(self, run_id: str, entry: Entry) -> None:
        from mlflow.entities import Param

        values = entry.values["values"].items()
        self._log(run_id, "params", [Param(k, v) for k, v in values])

    def _tags(self, run_id: str, entry: Entry) -> None:
        from mlflow.entities import RunTag

        values = dict(entry.values["values"])
        if NOTE in values:
            # Of a run that was made later, the description knows older IDs.
            for local_id, made in self.ids.items():
                values[NOTE] = values[NOTE].replace(local_id, made)
        self._log(run_id, "tags", [RunTag(k, v) for k, v in values.items()])

    def _dataset(self, run_id: str, entry: Entry) -> None:
        from mlflow.entities import Dataset, DatasetInput, InputTag

        values = entry.values
        dataset = Dataset(
            name=values["name"],
            digest=values["digest"],
            source_type="local",
            source=values["source"],
            profile=f'{{"num_rows": {int(values["n_rows"])}}}',
        )
        context = InputTag("mlflow.data.context", values["context"])
        self._client.log_inputs(run_id, datasets=[DatasetInput(dataset, [context])])

    def _file(self, run_id: str, entry: Entry) -> None:
        values = entry.values
        place = self._local(values["path"])
        is_spooled = values.get("is_spooled") is True
        if is_spooled and entry.is_doubtful and not place.exists():
            return  # it was delivered, then removed
        with _uploading(place):
            self._repository(run_id).log_artifact(str(place), values["folder"] or None)
        if is_spooled:
            place.unlink(missing_ok=True)

    def _folder(self, run_id: str, entry: Entry) -> None:
        place = self._local(entry.values["path"])
        with _uploading(place):
            self._repository(run_id).log_artifacts(str(place), entry.values["folder"])
            model_id = self._model_of(run_id) if entry.values.get("is_model") else None
            if model_id is not None:
                log_model_files(self._client, model_id, place)

    def _model(self, run_id: str, entry: Entry) -> None:
        params = entry.values["values"]
        self._models[run_id] = make_model(self._client, run_id, params)

    def _model_of(self, run_id: str) -> str | None:
        return self._models.get(run_id) or model_of(self._client, run_id)

    def _model_metrics(self, run_id: str, entry: Entry) -> None:
        """Log metrics of a dataset, to the run and to its model at once."""
        values, points = entry.values, self._missing(run_id, entry)
        model_id = self._model_of(run_id)
        bound = {
            "model_id": model_id,
            "dataset_name": values["name"],
            "dataset_digest": values["digest"],
        }
        self._log_points(run_id, points, **({} if model_id is None else bound))

    def _repository(self, run_id: str) -> Any:
        if run_id not in self._artifacts:
            try:
                self._artifacts[run_id] = artifacts_of(self._client, run_id)
            except TrackingError as err:
                raise OSError(str(err)) from err  # it may come back
        return self._artifacts[run_id]

    def _local(self, path: str) -> Path:
        pure = PurePosixPath(path)
        if pure.is_absolute() or ".." in pure.parts:
            raise TrackingError(f"{shorten(path)} is not in the directory of a run")
        return self._directory / pure

    def _end(self, run_id: str, entry: Entry) -> None:
        status, when = entry.values["status"], entry.values["time_ms"]
        self._client.set_terminated(run_id, status=status, end_time=when)


@contextmanager
def _uploading(place: Path) -> Iterator[None]:
    """Say what is wrong with a file or folder that no attempt will bring through."""
    if not place.exists():
        raise TrackingError(f"{place} is not there any more")
    try:
        yield
    except Exception as err:
        if not TOO_LARGE.search(str(err)):
            raise
        files = [p for p in (place, *place.rglob("*")) if p.is_file()]
        size, largest = max((p.stat().st_size, p) for p in files)
        raise TrackingError(
            f"{largest} has {size / 1e6:.2f} MB, more than the server, or a proxy in "
            "front of it, lets pass (413); it stays there"
        ) from err
