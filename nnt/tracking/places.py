"""Where the artifacts of a run are, also when its project has been moved."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from nnt.errors import TrackingError
from nnt.tracking.store_uri import sqlite_path

if TYPE_CHECKING:
    from mlflow.entities import Run
    from mlflow.store.artifact.artifact_repo import ArtifactRepository

__all__ = ["artifacts_of", "local_path"]

MLRUNS = "mlruns"


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


def artifacts_of(run: Run, uri: str) -> ArtifactRepository:
    """Open the artifacts of a run.

    The store keeps where they were when the run was made. If they are not there any
    more, they are looked for beside the database, as they are after a project has been
    moved.

    Parameters
    ----------
    run : Run
        As MLflow tells it.
    uri : str
        Of the store.

    Raises
    ------
    TrackingError
        Their place is not there any more.
    """
    from mlflow.store.artifact.artifact_repository_registry import (
        get_artifact_repository,
    )

    noted = str(run.info.artifact_uri)
    database, place = sqlite_path(uri), local_path(noted)
    if database is None or place is None or place.exists():
        return get_artifact_repository(noted, tracking_uri=uri)
    moved = _beside(database, place)
    if moved is not None and moved.exists():
        return get_artifact_repository(moved.as_uri(), tracking_uri=uri)
    if not _project(place).exists():
        raise TrackingError(
            f"run {run.info.run_id}: its artifacts are kept in {place}, which is not "
            "there; if the project has been moved, put its mlruns beside the database "
            f"{database}, or link its old place to the new one"
        )
    return get_artifact_repository(noted, tracking_uri=uri)


def _project(place: Path) -> Path:
    """Directory in which ``mlruns`` is made with the first artifact."""
    above = [p for p in place.parents if p.name == MLRUNS]
    return above[0].parent if above else place.parents[min(2, len(place.parents) - 1)]


def _beside(database: Path, place: Path) -> Path | None:
    """The same directory below ``mlruns`` beside the database."""
    parts = place.parts
    if MLRUNS not in parts:
        return None
    last = len(parts) - 1 - parts[::-1].index(MLRUNS)
    return database.absolute().parent.joinpath(*parts[last:])
