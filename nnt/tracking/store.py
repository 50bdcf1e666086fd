"""Where runs are kept, and how MLflow is told to behave."""

from __future__ import annotations

import fcntl
import logging
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from nnt.errors import TrackingError
from nnt.tracking.elsewhere import shown_store

if TYPE_CHECKING:
    from mlflow import MlflowClient

__all__ = ["base_directory", "connect", "default_uri", "experiment_id"]

EXPERIMENT = "nnt"

SETTINGS = {
    # The defaults retry for minutes without a word.
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "5",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
}


def base_directory(*, debug: bool = False) -> Path:
    """Directory of the default store and of the local files of runs."""
    if debug:
        return Path(tempfile.gettempdir()) / f"nnt-debug-{os.getuid()}"
    return Path.cwd()


def default_uri(*, debug: bool = False) -> str:
    """URI of the tracking store: ``MLFLOW_TRACKING_URI``, else a local database."""
    given = os.environ.get("MLFLOW_TRACKING_URI")
    if given and not debug:
        return given
    return f"sqlite:///{base_directory(debug=debug) / 'mlflow.db'}"


def connect(uri: str, base: Path, *, choose: bool = True) -> MlflowClient:
    """Connect to a store; a local database is made first if it is not there.

    Parameters
    ----------
    uri : str
        Of the store.
    base : Path
        Directory of the lock that keeps processes from making it at the same time.
    choose : bool
        Make it the store of MLflow itself, too.

    Raises
    ------
    TrackingError
        It does not answer.
    """
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)
    from mlflow import MlflowClient

    for noisy in ("mlflow", "alembic", "alembic.runtime.migration"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    try:
        base.mkdir(parents=True, exist_ok=True)
        # Two processes that make the tables at the same time both fail.
        with (base / ".nnt.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if choose:
                _choose(uri)
            client = MlflowClient(tracking_uri=uri, registry_uri=uri)
            client.search_experiments(max_results=1)
    except Exception as err:  # every database driver raises its own
        reason = (str(err).splitlines() or [type(err).__name__])[0]
        raise TrackingError(
            f"the tracking store {shown_store(uri)} does not answer: {reason}; "
            "check MLFLOW_TRACKING_URI and that the server runs"
        ) from err
    return client


def _choose(uri: str) -> None:
    """Choose the store of MLflow itself, and leave the variable of the user alone."""
    import mlflow

    given = os.environ.get("MLFLOW_TRACKING_URI")
    mlflow.set_tracking_uri(uri)
    if given is None:
        os.environ.pop("MLFLOW_TRACKING_URI", None)
    else:
        os.environ["MLFLOW_TRACKING_URI"] = given


def experiment_id(client: MlflowClient, uri: str, base: Path) -> str:
    """Find or make the experiment of the project."""
    from mlflow.exceptions import MlflowException

    name = os.environ.get("MLFLOW_EXPERIMENT_NAME", EXPERIMENT)
    found = client.get_experiment_by_name(name)
    if found is not None:
        return str(found.experiment_id)
    location = str(base / "mlruns") if uri.startswith("sqlite:") else None
    try:
        return str(client.create_experiment(name, artifact_location=location))
    except MlflowException:
        # Another process was faster.
        found = client.get_experiment_by_name(name)
        if found is None:
            raise
        return str(found.experiment_id)
