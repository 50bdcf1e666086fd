"""Operations of a journal, turned into calls of MLflow; each can be repeated."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from nnt.errors import TrackingError, shorten
from nnt.tracking.bulk import BulkWriter
from nnt.tracking.journal import MAX_POINTS, Points, Record
from nnt.tracking.places import artifacts_of

if TYPE_CHECKING:
    from mlflow import MlflowClient

__all__ = ["Sender", "is_file", "is_refusal", "plan"]

BULK = 20_000
"""Points in one transaction, which keeps others from writing for 0.1 s."""

FILE_KINDS = ("file", "folder")
NOTE = "mlflow.note.content"

REFUSALS = ("INVALID_PARAMETER_VALUE", "BAD_REQUEST", "RESOURCE_ALREADY_EXISTS")
"""Answers of MLflow that another attempt does not change."""


def plan(
    records: Iterable[Record], max_points: int = MAX_POINTS
) -> Iterator[list[Record]]:
    """Group operations to calls: metrics of a run together, all else alone.

    The order of the operations of a run stays, but for its files: metrics do not
    wait for them.

    Parameters
    ----------
    records : iterable of Record
        Operations of any runs.
    max_points : int
        Points in one call, unless a single operation has more.
    """
    batches: dict[str, list[Record]] = {}
    sizes: dict[str, int] = {}
    for record in records:
        run_id = record.run_id
        if record.kind == "metrics":
            size = record.n_points
            if run_id in batches and sizes[run_id] + size > max_points:
                yield batches.pop(run_id)
            if run_id not in batches:
                batches[run_id], sizes[run_id] = [], 0
            batches[run_id].append(record)
            sizes[run_id] += size
            continue
        if not is_file(record) and run_id in batches:
            yield batches.pop(run_id)
        yield [record]
    yield from batches.values()


def is_file(record: Record) -> bool:
    """Whether it goes to the store of artifacts."""
    return record.kind in FILE_KINDS


def is_refusal(err: BaseException) -> bool:
    """Whether an operation was refused for what it is, and not for the moment."""
    return isinstance(err, TrackingError) or getattr(err, "error_code", "") in REFUSALS


class Sender:
    """Does what operations say.

    Parameters
    ----------
    client : MlflowClient
        Of the store.
    directory : Path
        Holds the local directory of every run.
    create : callable, optional
        Makes a run that no store knows yet, and returns its ID there.
    ids : mapping, optional
        IDs of such runs that have been made, by what they were called before.
    """

    def __init__(
        self,
        client: MlflowClient,
        directory: Path,
        create: Callable[[Record], str] | None = None,
        ids: Mapping[str, str] | None = None,
    ) -> None:
        self._client = client
        self._directory = directory
        self._make = create
        self._bulk = BulkWriter(client)
        self.ids = dict(ids or {})
        self._repositories: dict[str, Any] = {}
        self._held: dict[tuple[str, str], set[tuple[int, int]]] = {}

    @property
    def max_points(self) -> int:
        """Points that one call may have."""
        return BULK if self._bulk.is_open else MAX_POINTS

    def forget(self) -> None:
        """Ask the store anew what it holds."""
        self._held.clear()

    def call(self, records: list[Record]) -> None:
        """Send operations that `plan` has put together.

        Raises
        ------
        Exception
            Whatever a store may raise; the operations may have been done in part.
        """
        first = records[0]
        run_id = self.ids.get(first.run_id, first.run_id)
        if first.kind == "metrics":
            self._metrics(run_id, records)
            return
        actions = {
            "create": self._create,
            "params": self._params,
            "tags": self._tags,
            "dataset": self._dataset,
            "file": self._file,
            "folder": self._folder,
            "end": self._end,
        }
        actions[first.kind](run_id, first)

    def _metrics(self, run_id: str, records: list[Record]) -> None:
        points: list[Points] = []
        for record in records:
            new: list[Points] = record.values["points"]
            points += self._missing(run_id, new) if record.is_doubtful else new
        for record in records:
            record.is_doubtful = True
        if not points:
            return
        try:
            self._send(run_id, points)
        except Exception as err:
            if len(records) > 1 or not is_refusal(err):
                raise
            self._send_apart(run_id, points)

    def _send_apart(self, run_id: str, points: list[Points]) -> None:
        """Send each curve for itself: one that is refused costs no other."""
        refusal: Exception | None = None
        for name in {name for _, _, values in points for name in values}:
            own = [(step, t, {name: v[name]}) for step, t, v in points if name in v]
            try:
                self._send(run_id, own)
            except Exception as err:
                if not is_refusal(err):
                    raise
                refusal = err
        if refusal is not None:
            raise refusal

    def _send(self, run_id: str, points: list[Points]) -> None:
        if self._bulk.write(run_id, points):
            return
        from mlflow.entities import Metric

        entities = [
            Metric(name, value, time_ms, step)
            for step, time_ms, values in points
            for name, value in values.items()
        ]
        for start in range(0, len(entities), MAX_POINTS):
            # Else MLFLOW_ENABLE_ASYNC_LOGGING lets it return before it is done.
            self._client.log_batch(
                run_id, entities[start : start + MAX_POINTS], synchronous=True
            )

    def _missing(self, run_id: str, points: Iterable[Points]) -> Iterator[Points]:
        """Ask the store for points: not every one drops what it has already."""
        for step, time_ms, values in points:
            new = {
                name: value
                for name, value in values.items()
                if (step, time_ms) not in self._times(run_id, name)
            }
            if new:
                yield step, time_ms, new

    def _times(self, run_id: str, name: str) -> set[tuple[int, int]]:
        """Steps and times that a curve holds."""
        place = run_id, name
        if place not in self._held:
            history = self._client.get_metric_history(run_id, name)
            self._held[place] = {(int(p.step), int(p.timestamp)) for p in history}
        return self._held[place]

    def _create(self, run_id: str, record: Record) -> None:
        if record.run_id in self.ids:
            return
        if self._make is None:
            raise TrackingError(f"run {run_id} is for a store that has it already")
        self.ids[record.run_id] = self._make(record)

    def _params(self, run_id: str, record: Record) -> None:
        from mlflow.entities import Param

        params = [Param(k, v) for k, v in record.values["values"].items()]
        self._client.log_batch(run_id, params=params, synchronous=True)

    def _tags(self, run_id: str, record: Record) -> None:
        from mlflow.entities import RunTag

        values = dict(record.values["values"])
        if NOTE in values:
            # Of a run that was made later, the description knows older IDs.
            for local_id, made in self.ids.items():
                values[NOTE] = values[NOTE].replace(local_id, made)
        tags = [RunTag(k, v) for k, v in values.items()]
        self._client.log_batch(run_id, tags=tags, synchronous=True)

    def _dataset(self, run_id: str, record: Record) -> None:
        from mlflow.entities import Dataset, DatasetInput, InputTag

        values = record.values
        dataset = Dataset(
            name=values["name"],
            digest=values["digest"],
            source_type="local",
            source=values["source"],
            profile=f'{{"num_rows": {int(values["n_rows"])}}}',
        )
        given = DatasetInput(
            dataset, [InputTag("mlflow.data.context", values["context"])]
        )
        self._client.log_inputs(run_id, datasets=[given])

    def _file(self, run_id: str, record: Record) -> None:
        values = record.values
        place = self._local(values["path"])
        is_spooled = values.get("is_spooled") is True
        if is_spooled and record.is_doubtful and not place.exists():
            return  # it was delivered, then removed
        self._artifacts(run_id).log_artifact(
            str(_present(place)), values["folder"] or None
        )
        if is_spooled:
            place.unlink(missing_ok=True)

    def _folder(self, run_id: str, record: Record) -> None:
        place = _present(self._local(record.values["path"]))
        self._artifacts(run_id).log_artifacts(str(place), record.values["folder"])

    def _artifacts(self, run_id: str) -> Any:
        if run_id not in self._repositories:
            run = self._client.get_run(run_id)
            try:
                found = artifacts_of(run, self._client.tracking_uri)
            except TrackingError as err:
                raise OSError(str(err)) from err  # it may come back
            self._repositories[run_id] = found
        return self._repositories[run_id]

    def _local(self, path: str) -> Path:
        pure = PurePosixPath(path)
        if pure.is_absolute() or ".." in pure.parts:
            raise TrackingError(f"{shorten(path)} is not in the directory of a run")
        return self._directory / pure

    def _end(self, run_id: str, record: Record) -> None:
        values = record.values
        self._client.set_terminated(
            run_id, status=values["status"], end_time=values["time_ms"]
        )


def _present(place: Path) -> Path:
    if not place.exists():
        raise TrackingError(f"{place} is not there any more")
    return place
