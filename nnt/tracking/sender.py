"""Entries of an outbox, turned into calls of MLflow; each can be repeated."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from nnt.errors import TrackingError, shorten
from nnt.tracking.artifacts import artifacts_of
from nnt.tracking.experiments import find_experiment
from nnt.tracking.local_runs import keep_ids, project_of, read_ids
from nnt.tracking.model import log_model_files, make_model, model_of
from nnt.tracking.outbox import Entry
from nnt.tracking.store import reason_of

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Metric, Param, RunTag

    Item = Metric | Param | RunTag

NOTE = "mlflow.note.content"
LOCAL_ID = "nnt.offline_id"

MAX_ITEMS = 1000
"""How many metrics, parameters and tags a server takes in one call."""
TOGETHER = ("metrics", "params", "tags")
"""Kinds of entries that one call takes."""
REFUSALS = ("INVALID_PARAMETER_VALUE", "BAD_REQUEST", "RESOURCE_ALREADY_EXISTS")
"""Answers of MLflow that another attempt does not change."""
TOO_LARGE = re.compile(r"(?i)code 413|413 client|(entity|payload|content) too large")
"""How a proxy refuses a call for its size."""


def grouped(entries: Iterable[Entry]) -> Iterator[list[Entry]]:
    """Group entries to calls: what a run logs together, all else alone.

    The order of the entries of a run stays, but for its files: nothing waits for them.
    """
    batches: dict[str, list[Entry]] = {}
    for entry in entries:
        run_id = entry.run_id
        if entry.kind in TOGETHER:
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
        self._max_items = MAX_ITEMS
        self.ids = {} if parent is None else read_ids(parent)
        self.places: dict[str, str] = {}
        """Where artifacts of runs go, as far as somebody knows: asking takes long."""
        self._artifacts: dict[str, Any] = {}
        self._models: dict[str, str] = {}
        self._curves: dict[str, dict[str, dict[int, float] | None]] = {}
        """Values by step of curves of runs that may hold some; None: not asked yet."""

    def forget(self) -> None:
        """Ask the store anew what it holds."""
        self._curves.clear()
        self._artifacts.clear()

    def send(self, entries: list[Entry]) -> None:
        """Send entries that `grouped` has put together.

        Whatever a store may raise comes through, and they may have been done in part.
        """
        first = entries[0]
        run_id = self.ids.get(first.run_id, first.run_id)
        if first.kind in TOGETHER:
            items = [item for e in entries for item in self._items(run_id, e)]
            try:
                self._log(run_id, items)
            except Exception as err:
                if not is_refusal(err):
                    raise
                self._log_apart(run_id, items)
        else:
            # Every other kind in `outbox.KINDS` has a method of its name.
            getattr(self, f"_{first.kind}")(run_id, first)

    def _items(self, run_id: str, entry: Entry) -> list[Item]:
        from mlflow.entities import Param, RunTag

        if entry.kind == "metrics":
            return self._points(run_id, entry)
        values = dict(entry.values["values"])
        if entry.kind == "params":
            return [Param(key, value) for key, value in values.items()]
        if NOTE in values:
            # Of a run that was made later, the description knows older IDs.
            for local_id, made in self.ids.items():
                values[NOTE] = values[NOTE].replace(local_id, made)
        return [RunTag(key, value) for key, value in values.items()]

    def _log_apart(self, run_id: str, items: list[Item]) -> None:
        """Send each curve, parameter and tag alone: none costs another one."""
        from mlflow.entities import Metric

        parts: dict[object, list[Item]] = {}
        for i, item in enumerate(items):
            curve = item.key if isinstance(item, Metric) else i
            parts.setdefault(curve, []).append(item)
        refusal: Exception | None = None
        for part in parts.values():
            try:
                self._log(run_id, part)
            except Exception as err:
                if not is_refusal(err):
                    raise
                refusal = err
        if refusal is not None:
            raise refusal

    def _log(self, run_id: str, items: list[Item]) -> None:
        """Send items in batches, smaller ones where a proxy does not let them pass."""
        from mlflow.entities import Metric, Param, RunTag

        while items:
            part = items[: self._max_items]
            try:
                self._client.log_batch(
                    run_id,
                    metrics=[item for item in part if isinstance(item, Metric)],
                    params=[item for item in part if isinstance(item, Param)],
                    tags=[item for item in part if isinstance(item, RunTag)],
                    # Else MLFLOW_ENABLE_ASYNC_LOGGING lets it return before it is done.
                    synchronous=True,
                )
            except Exception as err:
                if not TOO_LARGE.search(str(err)):
                    raise
                if len(part) == 1:
                    raise TrackingError(f"too large: {reason_of(err)}") from err
                self._max_items = len(part) // 2
            else:
                items = items[len(part) :]

    def _points(self, run_id: str, entry: Entry, **of: str) -> list[Item]:
        """Make the points that the store lacks, perhaps `of` a model and a dataset."""
        from mlflow.entities import Metric

        values, is_doubtful, entry.is_doubtful = entry.values, entry.is_doubtful, True
        step, time_ms = values["step"], values["time_ms"]
        return [
            Metric(name, value, time_ms, step, **of)
            for name, value in values["metrics"].items()
            if not (is_doubtful and self._is_held(run_id, name, step, value))
        ]

    def _is_held(self, run_id: str, name: str, step: int, value: float) -> bool:
        """Whether a curve has this point: not every store drops what comes twice.

        What is logged at step 0 belongs to the end. A run may have been evaluated
        before its training went on: then the end has another value, which counts.
        """
        if run_id not in self._curves:
            names = self._client.get_run(run_id).data.metrics
            self._curves[run_id] = dict.fromkeys(names)
        curves = self._curves[run_id]
        if name not in curves:
            return False
        held = curves[name]
        if held is None:
            points = self._client.get_metric_history(run_id, name)
            points.sort(key=lambda point: point.timestamp)
            held = curves[name] = {int(p.step): float(p.value) for p in points}
        # Two NaN are one value here.
        return step in held and (step > 0 or repr(held[step]) == repr(value))

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
        values, tags = entry.values, {**entry.values["values"], LOCAL_ID: entry.run_id}
        if values["parent"]:
            tags["mlflow.parentRunId"] = self.ids[values["parent"]]
        if found:
            made = found[0]
        else:
            when, name = values["time_ms"], values["name"]
            made = client.create_run(experiment, when, tags, name)
        self.ids[entry.run_id] = str(made.info.run_id)
        keep_ids(self._parent, entry.run_id, self.ids, client.tracking_uri)

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
        model_id, of = self._model_of(run_id), {}
        if model_id is not None:
            values = entry.values
            of = {"dataset_name": values["name"], "dataset_digest": values["digest"]}
            of["model_id"] = model_id
        self._log(run_id, self._points(run_id, entry, **of))

    def _repository(self, run_id: str) -> Any:
        if run_id not in self._artifacts:
            try:
                noted = self.places.get(run_id)
                self._artifacts[run_id] = artifacts_of(self._client, run_id, noted)
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
        size, largest = max(((p.stat().st_size, p) for p in files), default=(0, place))
        raise TrackingError(
            f"{largest} has {size / 1e6:.2f} MB, more than the server, or a proxy in "
            "front of it, lets pass (413); it stays there"
        ) from err
