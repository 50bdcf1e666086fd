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
from nnt.tracking.views import experiment_tags

if TYPE_CHECKING:
    from mlflow import MlflowClient

__all__ = [
    "base_directory",
    "connect",
    "default_uri",
    "experiment_id",
    "experiment_name",
    "newest_experiment",
    "reason_of",
    "tame_mlflow",
]

EXPERIMENT = "nnt"
SQLITE = "sqlite:///"
LOCK = ".nnt.lock"

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
MAKE_S = 240.0
"""How long the tables of a new database may take, seconds on an idle machine."""
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
        Directory of the lock that keeps processes from making it at the same time;
        that of a local database is beside it.
    choose : bool
        Make it the store of MLflow itself, too.

    Raises
    ------
    TrackingError
        It does not answer.
    """
    tame_mlflow()
    try:
        return _Asking(uri, base, choose=choose).answer()
    except Exception as err:
        raise TrackingError(
            f"the tracking store {shown_store(uri)} does not answer: "
            f"{reason_of(err)}; check MLFLOW_TRACKING_URI and that the server runs"
        ) from err


class _Asking(threading.Thread):
    """Asks a store, for as long as somebody would wait.

    Neither a server that never answers nor a locked database shall keep us waiting;
    the tables of a new database are worth it, also while another process makes them.
    """

    def __init__(self, uri: str, base: Path, *, choose: bool) -> None:
        super().__init__(name="connect", daemon=True)
        self._uri = uri
        self._base = base
        self._choose = choose
        self._has_turn = threading.Event()
        self._limit_s = CONNECT_S
        self._answer: MlflowClient | Exception | None = None

    def answer(self) -> MlflowClient:
        """Give a client of a store that has answered, or raise what went wrong."""
        self.start()
        self._has_turn.wait(MAKE_S)
        self.join(self._limit_s)
        if self._answer is None:
            raise TimeoutError(f"no answer within {self._limit_s:g} s")
        if isinstance(self._answer, Exception):
            raise self._answer
        return self._answer

    def run(self) -> None:
        """Keep the answer, or the error."""
        try:
            self._answer = self._ask()
        except Exception as err:  # noqa: BLE001 (every database driver raises its own)
            self._answer = err
        finally:
            self._has_turn.set()

    def _ask(self) -> MlflowClient:
        from mlflow import MlflowClient

        self._base.mkdir(parents=True, exist_ok=True)
        # Two processes that make the tables at the same time both fail.
        with (_lock_directory(self._uri, self._base) / LOCK).open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            self._limit_s = MAKE_S if _is_to_be_made(self._uri) else CONNECT_S
            self._has_turn.set()
            if self._choose:
                _choose(self._uri)
            client = MlflowClient(tracking_uri=self._uri, registry_uri=self._uri)
            client.search_experiments(max_results=1)
        return client


def _is_to_be_made(uri: str) -> bool:
    path = Path(uri.removeprefix(SQLITE))
    return uri.startswith("sqlite:") and not (path.exists() and path.stat().st_size)


def _lock_directory(uri: str, base: Path) -> Path:
    """Beside a database, which processes may use from any directory."""
    directory = Path(uri.removeprefix(SQLITE)).parent
    if uri.startswith(SQLITE) and os.access(directory, os.W_OK):
        return directory
    return base


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
    # It logs a traceback of what it raises, too.
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)


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
        return str(
            client.create_experiment(
                name, artifact_location=location, tags=experiment_tags()
            )
        )
    except MlflowException:
        # Another process was faster.
        found = client.get_experiment_by_name(name)
        if found is None:
            raise
        return str(found.experiment_id)


def newest_experiment(client: MlflowClient) -> str | None:
    """Find the experiment of the newest run; under `mlflow run`, MLflow chooses it."""
    ids = [own.experiment_id for own in client.search_experiments()]
    newest = client.search_runs(ids, order_by=["start_time DESC"], max_results=1)
    return str(newest[0].info.experiment_id) if newest else None
