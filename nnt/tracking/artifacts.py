"""Artifacts of runs: where they are, and files of bounded size from them."""

from __future__ import annotations

import time
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from nnt.errors import TrackingError, shorten
from nnt.tracking.store import reason_of, shown_store
from nnt.tracking.store_uri import sqlite_path

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.store.artifact.artifact_repo import ArtifactRepository
    from mlflow.store.artifact.http_artifact_repo import HttpArtifactRepository

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


def artifacts_of(client: MlflowClient, run_id: str) -> ArtifactRepository:
    """Open the artifacts of a run, as `artifacts_at` does.

    Raises
    ------
    TrackingError
        Their place is not there any more.
    """
    noted = str(client.get_run(run_id).info.artifact_uri)
    return artifacts_at(client, noted, f"run {run_id}")


def artifacts_at(client: MlflowClient, noted: str, owner: str) -> ArtifactRepository:
    """Open the artifacts at a place that a store names.

    The store keeps where they were when their owner was made. If they are not there
    any more, they are looked for beside the database, as they are after a project has
    been moved.

    Parameters
    ----------
    client : MlflowClient
        Of the store.
    noted : str
        Their address in the store.
    owner : str
        The run, or the model, for messages.

    Raises
    ------
    TrackingError
        Their place is not there any more.
    """
    from mlflow.store.artifact.artifact_repository_registry import (
        get_artifact_repository,
    )

    uri = client.tracking_uri
    database, place = sqlite_path(uri), local_path(noted)
    if database is None or place is None or place.exists():
        return get_artifact_repository(noted, tracking_uri=uri)
    moved = _beside(database, place)
    if moved is not None and moved.exists():
        return get_artifact_repository(moved.as_uri(), tracking_uri=uri)
    if not _project(place).exists():
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


class _AbsentError(Exception):
    """A store does not list an artifact."""


def fetch(
    client: MlflowClient, run_id: str, path: str, into: Path, max_bytes: int
) -> Path:
    """Fetch one file of a run into a directory, and nowhere else.

    Parameters
    ----------
    client : MlflowClient
        Of the store.
    run_id, path : str
        The artifact.
    into : Path
        Directory that is there.
    max_bytes : int
        Size above which it is refused: before it comes where the store tells its
        size, else as soon as so much has come.

    Raises
    ------
    TrackingError
        There is none of that name, it is a folder, or it is too large.
    """
    from mlflow.store.artifact.http_artifact_repo import HttpArtifactRepository

    pure = PurePosixPath(path)
    if pure.is_absolute() or ".." in pure.parts or not pure.name:
        raise TrackingError(f"run {run_id}: {shorten(path)} points outside the run")
    try:
        run = client.get_run(run_id)
        repository = artifacts_of(client, run_id)
        _check(repository, run_id, pure, max_bytes)
        if isinstance(repository, HttpArtifactRepository):
            place = into / pure
            place.parent.mkdir(parents=True, exist_ok=True)
            _stream(repository, run_id, pure, place, max_bytes)
        else:
            place = _copy(repository, str(pure), into)
    except TrackingError:
        raise
    except Exception as err:  # a server that is none answers anything
        is_absent = isinstance(err, _AbsentError)
        reason = "" if is_absent else f" ({reason_of(err)[:200]})"
        ended = "did its training end?"
        if is_absent and run.info.status == "RUNNING":
            ended = (
                "its training has not ended; if it was interrupted, continue it with "
                f"--resume {run_id}"
            )
        raise TrackingError(
            f"run {run_id} in {shown_store(client)} holds no artifact "
            f"{shorten(path)[1:-1]}{reason}; {ended}"
        ) from err
    if not place.resolve().is_relative_to(into.resolve()):
        raise TrackingError(f"run {run_id}: {shorten(path)} points outside the run")
    return place


def _copy(repository: Any, path: str, into: Path) -> Path:
    return Path(repository.download_artifacts(path, str(into)))


def _check(repository: Any, run_id: str, path: PurePosixPath, max_bytes: int) -> None:
    """Refuse what the store itself says is none, a folder, or too large."""
    folder = None if str(path.parent) == "." else str(path.parent)
    found = [
        item
        for item in repository.list_artifacts(folder)
        if PurePosixPath(item.path) == path
    ]
    if not found:
        raise _AbsentError
    if found[0].is_dir:
        raise TrackingError(f"run {run_id}: {shorten(str(path))} is a folder")
    if (found[0].file_size or 0) > max_bytes:
        raise _too_large(run_id, path, max_bytes)


def _too_large(run_id: str, path: PurePosixPath, max_bytes: int) -> TrackingError:
    return TrackingError(
        f"run {run_id}: {shorten(str(path))} is larger than {max_bytes / 1e6:.0f} MB"
    )


def _stream(
    repository: HttpArtifactRepository,
    run_id: str,
    path: PurePosixPath,
    place: Path,
    max_bytes: int,
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
