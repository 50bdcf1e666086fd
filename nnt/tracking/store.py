"""Where runs are kept, and how MLflow is told to behave."""

from __future__ import annotations

import fcntl
import logging
import os
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from nnt.errors import TrackingError
from nnt.tracking.elsewhere import shown_store

if TYPE_CHECKING:
    from mlflow import MlflowClient

__all__ = [
    "base_directory",
    "connect",
    "default_uri",
    "experiment_id",
    "experiment_name",
    "reason_of",
    "tame_mlflow",
]

EXPERIMENT = "nnt"

SETTINGS = {
    # The defaults retry for minutes without a word.
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "5",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    # Standard output is for results.
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
}


CONNECT_S = 25.0
"""How long a store may take to answer at the start."""
MAX_REASON = 300


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
    tame_mlflow()
    answer: list[MlflowClient | Exception] = []

    def ask() -> None:
        try:
            answer.append(_ask(uri, base, choose=choose))
        except Exception as err:  # noqa: BLE001 (every database driver raises its own)
            answer.append(err)

    # Neither a server that never answers nor a locked database shall keep us waiting.
    asking = threading.Thread(target=ask, name="connect", daemon=True)
    asking.start()
    asking.join(CONNECT_S)
    found = answer[0] if answer else TimeoutError(f"no answer within {CONNECT_S:g} s")
    if isinstance(found, Exception):
        raise TrackingError(
            f"the tracking store {shown_store(uri)} does not answer: "
            f"{reason_of(found)}; check MLFLOW_TRACKING_URI and that the server runs"
        ) from found
    return found


def _ask(uri: str, base: Path, *, choose: bool) -> MlflowClient:
    from mlflow import MlflowClient

    base.mkdir(parents=True, exist_ok=True)
    # Two processes that make the tables at the same time both fail.
    with (base / ".nnt.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if choose:
            _choose(uri)
        client = MlflowClient(tracking_uri=uri, registry_uri=uri)
        client.search_experiments(max_results=1)
    return client


def reason_of(err: BaseException) -> str:
    """Say in one line why a call has failed."""
    lines = str(err).strip().splitlines() or [type(err).__name__]
    return lines[0] if len(lines[0]) <= MAX_REASON else lines[0][:MAX_REASON] + "..."


def tame_mlflow() -> None:
    """Let MLflow neither wait for minutes nor talk, unless the user has set it so."""
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)
    # An import of MLflow sets the level of its log.
    import mlflow  # noqa: F401

    for noisy in ("mlflow", "alembic", "alembic.runtime.migration"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


def _choose(uri: str) -> None:
    """Choose the store of MLflow itself, and leave the variable of the user alone."""
    import mlflow

    given = os.environ.get("MLFLOW_TRACKING_URI")
    mlflow.set_tracking_uri(uri)
    if given is None:
        os.environ.pop("MLFLOW_TRACKING_URI", None)
    else:
        os.environ["MLFLOW_TRACKING_URI"] = given


def experiment_name() -> str:
    """Experiment that new runs go to: ``MLFLOW_EXPERIMENT_NAME``, else that of NNT."""
    return os.environ.get("MLFLOW_EXPERIMENT_NAME", EXPERIMENT)


def experiment_id(
    client: MlflowClient, uri: str, base: Path, name: str | None = None
) -> str:
    """Find or make an experiment, by default that of the project."""
    from mlflow.exceptions import MlflowException

    name = name or experiment_name()
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
