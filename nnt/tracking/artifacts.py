"""Artifacts of runs: where they are, and files of bounded size from them."""

from __future__ import annotations

import time
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from nnt.errors import TrackingError, shorten
from nnt.tracking.store import asked, reason_of, shown_store
from nnt.tracking.store_uri import sqlite_path

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.store.artifact.artifact_repo import ArtifactRepository

MLRUNS = "mlruns"
CHUNK_BYTES = 1 << 20
MAX_SECONDS = 600.0
"""A server that sends a byte now and then is given up."""


def local_path(uri: str) -> Path | None:
    """Directory that an address of artifacts names; None if it is elsewhere.

    Examples
    --------
    >>> local_path("file:///data/mlruns/1")
    PosixPath('/data/mlruns/1')
    >>> local_path("s3://bucket/1")
    """
    if uri.startswith("file:"):
        uri = urlsplit(uri).path
    elif not uri.startswith("/"):
        return None
    return Path(unquote(uri))


def artifacts_of(
    client: MlflowClient, run_id: str, noted: str | None = None
) -> ArtifactRepository:
    """Open the artifacts of a run, as `artifacts_at` does; ask for their place."""
    noted = noted or str(client.get_run(run_id).info.artifact_uri)
    return artifacts_at(client, noted, f"run {run_id}")


def artifacts_at(client: MlflowClient, noted: str, owner: str) -> ArtifactRepository:
    """Open the artifacts of an owner, a run or a model, at a place that a store names.

    The store keeps where they were when their owner was made. If they are not there
    any more, they are looked for beside the database, as they are after a project has
    been moved.
    """
    from mlflow.store.artifact.artifact_repository_registry import (
        get_artifact_repository,
    )

    uri = client.tracking_uri
    database, place = sqlite_path(uri), local_path(noted)
    if database is not None and place is not None and not place.exists():
        moved = _beside(database, place)
        if moved is not None and moved.exists():
            noted = moved.as_uri()
        elif not _project(place).exists():
            raise TrackingError(
                f"{owner}: its artifacts are kept in {place}, which does not exist; if "
                "the project has been moved, put its mlruns next to the database "
                f"{database}, or link its old place to the new one"
            )
    return get_artifact_repository(noted, tracking_uri=uri)


def _project(place: Path) -> Path:
    """Directory in which ``mlruns`` is made with the first artifact."""
    above = [p for p in place.parents if p.name == MLRUNS]
    return above[0].parent if above else place.parents[min(2, len(place.parents) - 1)]


def _beside(database: Path, place: Path) -> Path | None:
    """The same directory below ``mlruns`` next to the database."""
    parts = place.parts
    if MLRUNS not in parts:
        return None
    last = len(parts) - 1 - parts[::-1].index(MLRUNS)
    return database.absolute().parent.joinpath(*parts[last:])


def fetch(
    client: MlflowClient, run_id: str, path: str, into: Path, max_bytes: int
) -> Path:
    """Fetch one file of a run into a directory that is there, and nowhere else.

    A file above `max_bytes` is refused: before it comes where the store tells its
    size, else as soon as so much has come.
    """
    pure = PurePosixPath(path)
    outside = TrackingError(f"run {run_id}: {shorten(path)} points outside the run")
    if pure.is_absolute() or ".." in pure.parts or not pure.name:
        raise outside
    with asked(lambda err: _no_artifact(client, run_id, pure, reason_of(err)[:200])):
        place = _fetch(client, run_id, pure, into, max_bytes)
    if not place.resolve().is_relative_to(into.resolve()):
        raise outside
    return place


def _fetch(
    client: MlflowClient, run_id: str, path: PurePosixPath, into: Path, max_bytes: int
) -> Path:
    from mlflow.store.artifact.http_artifact_repo import HttpArtifactRepository

    info = client.get_run(run_id).info
    # MLflow gives it no types.
    repository: Any = artifacts_at(client, str(info.artifact_uri), f"run {run_id}")
    folder = None if str(path.parent) == "." else str(path.parent)
    listed = repository.list_artifacts(folder)
    found = [item for item in listed if PurePosixPath(item.path) == path]
    if not found:
        raise _no_artifact(client, run_id, path, is_running=info.status == "RUNNING")
    if found[0].is_dir:
        raise TrackingError(f"run {run_id}: {shorten(str(path))} is a folder")
    if (found[0].file_size or 0) > max_bytes:
        raise _too_large(run_id, path, max_bytes)
    if not isinstance(repository, HttpArtifactRepository):
        return Path(repository.download_artifacts(str(path), str(into)))
    place = into / path
    place.parent.mkdir(parents=True, exist_ok=True)
    _stream(repository, run_id, path, place, max_bytes)
    return place


def _no_artifact(
    client: MlflowClient,
    run_id: str,
    path: PurePosixPath,
    reason: str = "",
    *,
    is_running: bool = False,
) -> TrackingError:
    because = f" ({reason})" if reason else ""
    ended = (
        "its training has not ended; if it was interrupted, continue it with "
        f"--resume {run_id}"
        if is_running
        else "did its training end?"
    )
    return TrackingError(
        f"run {run_id} in {shown_store(client)} holds no artifact "
        f"{shorten(str(path))[1:-1]}{because}; {ended}"
    )


def _too_large(run_id: str, path: PurePosixPath, max_bytes: int) -> TrackingError:
    return TrackingError(
        f"run {run_id}: {shorten(str(path))} is larger than {max_bytes / 1e6:.0f} MB"
    )


def _stream(
    repository: Any, run_id: str, path: PurePosixPath, place: Path, max_bytes: int
) -> None:
    """Fetch a file from a server, of which neither size nor end is taken for granted.

    `HttpArtifactRepository` would write all that comes, expanded.
    """
    from mlflow.utils import rest_utils

    request: Any = rest_utils.http_request
    # Of compressed answers the expanded size is not known before.
    response = request(
        repository._host_creds,
        f"/{path}",
        "GET",
        stream=True,
        extra_headers={"Accept-Encoding": "identity"},
    )
    begin, size = time.monotonic(), 0
    with response, place.open("wb") as file:
        response.raise_for_status()
        if response.headers.get("Content-Encoding", "identity") != "identity":
            raise OSError("the server compressed it without being asked")
        for chunk in response.iter_content(CHUNK_BYTES):
            size += len(chunk)
            if size > max_bytes:
                raise _too_large(run_id, path, max_bytes)
            if time.monotonic() - begin > MAX_SECONDS:
                raise OSError(f"it did not arrive within {MAX_SECONDS:.0f} s")
            file.write(chunk)
