"""Connections to tracking stores, for writing and for reading alone."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import re
import sqlite3
import tempfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, wait
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING

from nnt.errors import TrackingError
from nnt.files import expand_path
from nnt.tracking.store_uri import (
    DATABASE,
    hide_passwords,
    is_server,
    settle_mlflow,
    sqlite_path,
    sqlite_uri,
    variable,
)

if TYPE_CHECKING:
    from mlflow import MlflowClient

LOCK = ".nnt.lock"
CONNECT_S = 25.0
"""How long a store may take to answer at the start."""
MAKE_S = 240.0
"""How long the tables of a new database may take, seconds on an idle machine."""
MAX_REASON = 300
AUTOFLUSH = "(raised as a result of Query-invoked autoflush"
DRIVER_ERROR = re.compile(r"^\([\w.]+\) (?P<reason>.+)")
"""How SQLAlchemy repeats what a database has said."""
FULL = "database or disk is full"

STATUS = re.compile(r"error code (\d{3}) != 200|too many (\d{3}) error responses")
EXCEPTION = "failed with exception "
CAUSE = re.compile(r"\(Caused by \w+\((?P<cause>.+)\)\)")
"""What has gone wrong, at the end of what urllib3 says."""
CAUSE_START = re.compile(r"(?<!SSL): |, (?=['\"])|\((?=['\"])")
OTHER_ANSWERS = (AttributeError, LookupError, TypeError)
NO_JSON = "not in a valid JSON format"
MAINTENANCE = "is in maintenance mode"
UNSUPPORTED = "got unsupported URI"
EXAMPLE = sqlite_uri(Path("/PATH", DATABASE))
CHECK = "check MLFLOW_TRACKING_URI"
CHECK_SERVER = f"{CHECK} and that the server runs"
CHECK_PATH = f"{CHECK}, with the path in front of its pages if there is one"
OTHER_SCHEMA = "database schema"
"""What MLflow says of a database of another version."""


def connect(uri: str, *, must_exist: bool = False) -> MlflowClient:
    """Connect to a store; a local database is made first unless it `must_exist`.

    It becomes the store of MLflow itself, too.

    Raises
    ------
    TrackingError
        It does not answer, or there is no such database and none is to be made.
    """
    if must_exist:
        _check_there(uri)
    return _connect(uri, is_reading=False)


def connect_to_read(uri: str) -> MlflowClient:
    """Connect to a store that is there already; nothing is made, nothing locked.

    Raises
    ------
    TrackingError
        It does not answer, or there is no such database.
    """
    _check_there(uri)
    return _connect(uri, is_reading=True)


def import_mlflow() -> None:
    """Import what most stores need of MLflow: for a process that forks others."""
    settle_mlflow()
    import mlflow.store.tracking.sqlalchemy_store  # noqa: F401


def _check_there(uri: str) -> None:
    path = sqlite_path(uri)
    if path is not None and not _holds_something(path):
        raise TrackingError(
            f"there is no tracking store at {path.absolute()}; change to the directory "
            f"of the trainings, which holds {DATABASE}, set MLFLOW_TRACKING_URI to "
            "their store, or write STORE#RUN; nnt list --debug lists the trainings "
            "without --production, which have a store of their own"
        )


def _holds_something(path: Path) -> bool:
    try:
        return path.stat().st_size > 0
    except (FileNotFoundError, NotADirectoryError):
        return False
    except (OSError, ValueError):
        return True  # opening it tells why not


def _connect(uri: str, *, is_reading: bool) -> MlflowClient:
    """Ask a store, for as long as somebody would wait.

    Neither a server that never answers nor a locked database shall keep us waiting;
    the tables of a new database are worth it, also while another process makes them.
    """
    settle_mlflow()
    answer: Future[MlflowClient] = Future()
    turn = _Turn()
    turn.limit_s = CONNECT_S

    def ask() -> None:
        try:
            answer.set_result(_ask(uri, turn, is_reading=is_reading))
        except Exception as err:  # noqa: BLE001 (every database driver raises its own)
            answer.set_exception(err)
        finally:
            turn.set()

    threading.Thread(target=ask, name="connect", daemon=True).start()
    turn.wait(MAKE_S)
    wait([answer], turn.limit_s)
    late = TimeoutError(f"no answer within {turn.limit_s:g} s")
    err = answer.exception() if answer.done() else late
    if err is not None:
        raise no_answer(uri, err) from err
    return answer.result()


class _Turn(threading.Event):
    """Set once nobody else makes the tables of a database."""

    limit_s = 0.0
    """How long the store may take from then on."""


def _ask(uri: str, turn: _Turn, *, is_reading: bool) -> MlflowClient:
    from mlflow import MlflowClient

    path = sqlite_path(uri)
    if uri.startswith("sqlite"):
        _check_file(path)
    with _lock(uri, path, is_reading=is_reading):
        if path is not None:
            turn.limit_s = CONNECT_S if _holds_something(path) else MAKE_S
            _look_at(path, is_reading=is_reading)
        turn.set()
        if not is_reading:
            _choose(uri)
        client = MlflowClient(tracking_uri=uri, registry_uri=uri)
        client.search_experiments(max_results=1)
    return client


@contextlib.contextmanager
def _lock(uri: str, path: Path | None, *, is_reading: bool) -> Iterator[None]:
    """Keep processes from making the tables of a database at the same time.

    The lock lies beside a SQLite database, which processes may use from any
    directory. Who only reads makes no lock, and waits where there is one.
    """
    if path is not None:
        place = path.parent / LOCK
    elif is_server(uri):
        yield  # it makes its tables itself
        return
    else:
        name = hashlib.sha256(uri.encode()).hexdigest()[:16]
        place = Path(tempfile.gettempdir()) / f"nnt-{os.getuid()}-{name}.lock"
    with contextlib.ExitStack() as held:
        # Where nothing can be written, no tables can be made.
        with contextlib.suppress(OSError):
            if not is_reading:
                place.parent.mkdir(parents=True, exist_ok=True)
            lock = held.enter_context(place.open("rb" if is_reading else "ab"))
            fcntl.flock(lock, fcntl.LOCK_SH if is_reading else fcntl.LOCK_EX)
        yield


def no_answer(uri: str, err: BaseException) -> TrackingError:
    """Say that a store cannot be used, why, and what helps."""
    return TrackingError(
        f"the tracking store {hide_passwords(uri)} {_what_is_wrong(uri, err)}"
    )


def _what_is_wrong(uri: str, err: BaseException) -> str:
    """Say what a store does not do, why, and what helps."""
    text, reason = str(err), reason_of(err)
    if found := STATUS.search(text):
        return _of_status(int(found[1] or found[2]))
    if NO_JSON in text or (is_server(uri) and isinstance(err, OTHER_ANSWERS)):
        return f"is no MLflow server: it answers with something else; {CHECK_PATH}"
    if MAINTENANCE in text:
        place = Path(expand_path(uri.removeprefix("file://"))).absolute()
        database = place if place.is_file() else place / DATABASE
        return (
            "cannot be used: MLflow no longer keeps runs in plain files; name a "
            f"database, MLFLOW_TRACKING_URI={sqlite_uri(database)}, or set "
            "MLFLOW_ALLOW_FILE_STORE=true"
        )
    if UNSUPPORTED in text:
        return (
            "cannot be used: expected an address such as http://HOST:5000 or "
            f"{EXAMPLE}; {CHECK}"
        )
    if OTHER_SCHEMA in text:
        return (
            f"cannot be used: {reason}; another version of MLflow made it: if that was "
            "an older one, back the database up and run: mlflow db upgrade "
            f"'{hide_passwords(uri)}'; if a newer one, install that"
        )
    remedy = CHECK_SERVER if is_server(uri) else f"{CHECK} and that it is there"
    is_local = uri.startswith(("sqlite", "file:"))
    is_silent = "API request to" in text or (
        not is_local and any(map(DRIVER_ERROR.match, text.splitlines()))
    )
    if is_silent or isinstance(err, TimeoutError):
        return f"does not answer: {reason}; {remedy}"
    if isinstance(err, ImportError):
        remedy = "install the driver of this database"
    return f"cannot be used: {reason}; {CHECK if is_server(uri) else remedy}"


def _of_status(status: int) -> str:
    """Say what a server that answers with an error does not do, and what helps."""
    phrase = HTTPStatus(status).phrase if status in list(HTTPStatus) else ""
    reason = f"{status} {phrase}".strip()
    if status == HTTPStatus.UNAUTHORIZED:
        return (
            f"refuses access: {reason}; set MLFLOW_TRACKING_USERNAME and "
            "MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN"
        )
    if status == HTTPStatus.FORBIDDEN:
        return f"refuses access: {reason}; ask who runs it for the right to use it"
    if status in (HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED):
        return f"is no MLflow server: {reason}; {CHECK_PATH}"
    return f"does not answer: {reason}; {CHECK_SERVER}"


def _look_at(path: Path, *, is_reading: bool) -> None:
    """Hear at once what is wrong with a database: MLflow tries again for minutes."""
    path = path.absolute()
    if not _holds_something(path):
        place = next((p for p in path.parents if p.exists()), Path("/"))
        if not place.is_dir() or not os.access(place, os.W_OK | os.X_OK):
            raise PermissionError(f"no database can be made in {path.parent}")
        return
    uri = f"{path.as_uri()}?mode=ro"
    with contextlib.closing(sqlite3.connect(uri, uri=True, timeout=CONNECT_S)) as file:
        tables = {name for (name,) in file.execute("SELECT name FROM sqlite_master")}
    if is_reading and "experiments" not in tables:
        # MLflow would make its tables in it.
        raise ValueError("it is not a database of MLflow")


def _check_file(path: Path | None) -> None:
    """Refuse an address that names no file in which runs could be kept."""
    if path is None:
        raise ValueError(f"expected a file, such as {EXAMPLE}")
    if path.is_dir():
        raise ValueError("it is a directory; name a file in it")
    if path.parts[0].startswith("~") and not path.exists():
        raise ValueError("~ is not expanded in an address; write the whole path")


def reason_of(err: BaseException) -> str:
    """Say in one line why a call has failed, without passwords."""
    lines = str(err).strip().splitlines() or [type(err).__name__]
    said = [line for line in lines if not line.startswith(AUTOFLUSH)] or lines
    found = next(filter(None, map(DRIVER_ERROR.match, lines)), None)
    reason = found["reason"] if found else said[0]
    if found is None and AUTOFLUSH in reason:
        reason = reason.partition(AUTOFLUSH)[0].strip() or reason
    reason = reason.rpartition(EXCEPTION)[2]
    if cause := CAUSE.search(reason):
        reason = re.sub(r"['\"]\)*$", "", CAUSE_START.split(cause["cause"])[-1])
        reason = reason.lstrip("'\"")
    if FULL in reason:
        reason += "; make room"
    reason = hide_passwords(reason)
    return reason if len(reason) <= MAX_REASON else reason[:MAX_REASON] + "..."


def shown_store(client: MlflowClient) -> str:
    """Address of a store, without the password that it may hold."""
    return hide_passwords(client.tracking_uri)


@contextlib.contextmanager
def asked(failure: str | Callable[[Exception], TrackingError]) -> Iterator[None]:
    """Raise what a block raises as `TrackingError`: the failure and its reason.

    A server that is none answers anything.
    """
    try:
        yield
    except TrackingError:
        raise
    except Exception as err:
        if isinstance(failure, str):
            raise TrackingError(f"{failure}: {reason_of(err)}") from err
        raise failure(err) from err


def _choose(uri: str) -> None:
    """Choose the store of MLflow itself, and leave the variable of the user alone."""
    import mlflow

    given = variable("MLFLOW_TRACKING_URI")
    mlflow.set_tracking_uri(uri)
    if given is None:
        os.environ.pop("MLFLOW_TRACKING_URI", None)
    else:
        os.environ["MLFLOW_TRACKING_URI"] = given
